"""The schema of evolution.db, one step after the other. A step that has shipped is never edited."""

import json
from typing import Any

from agent.storage.database import Migrations
from agent.storage.database import SqliteUtilsDatabase as Database
from evolver.store.stored_value import renewed

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
    """Add the lease, the cycle of a release, pins, and more states of an adapter."""
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
    """Add the tools that the model wrote, with where they come from and what a person said of them."""
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


@migrations()
def m005_names_of_scores(db: Database) -> None:
    """Rename the scores in stored reports to the field's terms."""
    for table, key, column in (
        ("adapters", "name", "scores"),
        ("evaluations", "number", "scores"),
        ("cycles", "number", "summary"),
    ):
        for row, text in db.execute(f"SELECT {key}, {column} FROM {table}").fetchall():
            renamed = json.dumps(_with_new_names(json.loads(text)))
            db.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (renamed, row))


_SCORES = {
    "exact": "call_accuracy",
    "right_tool": "tool_selection_accuracy",
    "no_call": "irrelevance_accuracy",
    "malformed": "invalid_call_rate",
}


def _with_new_names(value: Any) -> Any:
    """Return ``value`` with the scores renamed: in it, or in the reports that it holds by stage."""
    if not isinstance(value, dict):
        return value
    if _SCORES.keys() <= value.keys():
        return {_SCORES.get(name, name): score for name, score in value.items()}
    return {name: _with_new_names(inner) for name, inner in value.items()}


@migrations()
def m006_beats_by_the_database(db: Database) -> None:
    """Add ``lease.seen_at``: when the holder renewed the lease, by the database's time (seconds since the epoch,
    UTC)."""
    db.execute("ALTER TABLE lease ADD COLUMN seen_at REAL NOT NULL DEFAULT 0")


@migrations()
def m007_kinds_of_traces(db: Database) -> None:
    """Rename the kinds of traces in the summaries of cycles to the field's terms."""
    for number, text in db.execute("SELECT number, summary FROM cycles").fetchall():
        db.execute("UPDATE cycles SET summary = ? WHERE number = ?", (json.dumps(renewed(json.loads(text))), number))


@migrations()
def m008_seen_tools(db: Database) -> None:
    """Add the tools that clients brought: a row per version of each and per client. ``turns`` counts the interactions
    that showed it; ``last_id`` is the newest of them."""
    db.execute(
        """
        CREATE TABLE seen_tools (
            source TEXT NOT NULL,
            tenant TEXT NOT NULL,
            owner TEXT NOT NULL,
            name TEXT NOT NULL,
            sha256 TEXT NOT NULL,
            version INTEGER NOT NULL,
            tool TEXT NOT NULL,
            first_seen REAL NOT NULL,
            last_seen REAL NOT NULL,
            last_id TEXT NOT NULL,
            turns INTEGER NOT NULL,
            calls INTEGER NOT NULL,
            failures INTEGER NOT NULL,
            PRIMARY KEY (source, tenant, owner, name, sha256)
        ) STRICT, WITHOUT ROWID
        """
    )


@migrations()
def m009_times_of_stages(db: Database) -> None:
    """Add when each stage of a cycle began and ended (seconds since the epoch; ``ended_at`` NULL: not yet)."""
    db.execute(
        """
        CREATE TABLE stage_times (
            cycle INTEGER NOT NULL REFERENCES cycles (number),
            stage TEXT NOT NULL,
            began_at REAL NOT NULL,
            ended_at REAL,
            PRIMARY KEY (cycle, stage)
        ) STRICT, WITHOUT ROWID
        """
    )


@migrations()
def m010_tenants(db: Database) -> None:
    """Add the tenant of a cycle, a release and an evaluation; "" for what is everybody's."""
    for table in ("cycles", "releases", "evaluations"):
        db.execute(f"ALTER TABLE {table} ADD COLUMN tenant TEXT NOT NULL DEFAULT ''")
