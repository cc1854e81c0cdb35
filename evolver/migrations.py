"""The schema of evolution.db, one step after the other. A step that has shipped is never edited."""

from sqlite_utils import Database, Migrations

migrations = Migrations("evolver")


@migrations()
def m001_cycles_adapters_releases(db: Database) -> None:
    db.execute(
        """
        CREATE TABLE cycles (
            number INTEGER PRIMARY KEY,
            started_at REAL NOT NULL,
            ended_at REAL,
            status TEXT NOT NULL,
            stage TEXT NOT NULL DEFAULT '',
            reason TEXT NOT NULL DEFAULT '',
            last_interaction_id TEXT NOT NULL DEFAULT '',
            summary TEXT NOT NULL DEFAULT '{}'
        ) STRICT
        """
    )
    db.execute(
        """
        CREATE TABLE adapters (
            name TEXT PRIMARY KEY,
            cycle INTEGER NOT NULL REFERENCES cycles (number),
            parent TEXT NOT NULL,
            sha256 TEXT NOT NULL,
            dataset_sha256 TEXT NOT NULL,
            created_at REAL NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('candidate', 'rejected', 'promoted', 'withdrawn')),
            scores TEXT NOT NULL DEFAULT '{}'
        ) STRICT
        """
    )
    db.execute(
        """
        CREATE TABLE releases (
            number INTEGER PRIMARY KEY,
            at REAL NOT NULL,
            adapter TEXT NOT NULL,
            previous TEXT NOT NULL,
            reason TEXT NOT NULL
        ) STRICT
        """
    )
