"""The schema of evolution.db, one step after the other. A step that has shipped is never edited."""

from agent.database import Migrations
from agent.database import SqliteUtilsDatabase as Database

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


@migrations()
def m002_lease_releases_states(db: Database) -> None:
    """Who may run a cycle; which cycle a release came from; pins; more states of an adapter."""
    db.execute(
        """
        CREATE TABLE lease (
            name TEXT PRIMARY KEY,
            token INTEGER NOT NULL,
            holder TEXT NOT NULL,
            renewed_at REAL NOT NULL
        ) STRICT
        """
    )
    db.execute("CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT")
    db.execute("ALTER TABLE releases ADD COLUMN cycle INTEGER NOT NULL DEFAULT 0")
    db.execute("ALTER TABLE releases ADD COLUMN changed_by TEXT NOT NULL DEFAULT ''")
    states = "'candidate', 'rejected', 'promoted', 'withdrawn', 'waiting', 'removed'"
    db.execute(
        f"""
        CREATE TABLE adapters_new (
            name TEXT PRIMARY KEY,
            cycle INTEGER NOT NULL REFERENCES cycles (number),
            parent TEXT NOT NULL,
            sha256 TEXT NOT NULL,
            dataset_sha256 TEXT NOT NULL,
            created_at REAL NOT NULL,
            state TEXT NOT NULL CHECK (state IN ({states})),
            scores TEXT NOT NULL DEFAULT '{{}}',
            pinned INTEGER NOT NULL DEFAULT 0
        ) STRICT
        """
    )
    db.execute("INSERT INTO adapters_new SELECT *, 0 FROM adapters")
    db.execute("DROP TABLE adapters")
    db.execute("ALTER TABLE adapters_new RENAME TO adapters")


@migrations()
def m003_evaluations_and_marks(db: Database) -> None:
    db.execute(
        """
        CREATE TABLE evaluations (
            number INTEGER PRIMARY KEY,
            at REAL NOT NULL,
            model TEXT NOT NULL,
            suite TEXT NOT NULL,
            suite_sha256 TEXT NOT NULL,
            scores TEXT NOT NULL
        ) STRICT
        """
    )
    db.execute("CREATE INDEX evaluations_of_model ON evaluations (model, number)")
    db.execute(
        """
        CREATE TABLE adapter_marks (
            adapter TEXT NOT NULL,
            at REAL NOT NULL,
            reason TEXT NOT NULL,
            PRIMARY KEY (adapter, reason)
        ) STRICT
        """
    )


@migrations()
def m004_made_tools(db: Database) -> None:
    """Tools that the model wrote, with where they come from and what a person said of them."""
    db.execute(
        """
        CREATE TABLE made_tools (
            sha256 TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('waiting', 'approved', 'rejected')),
            created_at REAL NOT NULL,
            decided_at REAL,
            cycle INTEGER NOT NULL,
            maker TEXT NOT NULL,
            interaction_id TEXT NOT NULL,
            request TEXT NOT NULL,
            tool TEXT NOT NULL,
            examples TEXT NOT NULL
        ) STRICT
        """
    )
    db.execute("CREATE UNIQUE INDEX made_tools_in_use ON made_tools (name) WHERE state != 'rejected'")
