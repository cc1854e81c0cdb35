"""The schema of the ledger on Postgres, one step after the other. A step that has shipped is never edited.

The tables are those of ``evolver.store.migrations``, beside the pointer to the active adapter: both change in one
transaction.
"""

from agent.adapters import shared_pointer
from agent.log import postgres_schema as log_schema
from agent.storage.statements import Steps

_TABLES = """
    CREATE FUNCTION unixepoch(moment text, modifier text) RETURNS double precision LANGUAGE sql VOLATILE AS $$
        SELECT extract(epoch FROM clock_timestamp())::double precision
    $$;
    CREATE TABLE cycles (
        number bigint PRIMARY KEY,
        started_at double precision NOT NULL,
        ended_at double precision,
        status TEXT NOT NULL,
        stage TEXT NOT NULL DEFAULT '',
        reason TEXT NOT NULL DEFAULT '',
        last_interaction_id TEXT NOT NULL DEFAULT '',
        summary TEXT NOT NULL DEFAULT '{}'
    );
    CREATE TABLE adapters (
        name TEXT PRIMARY KEY,
        cycle bigint NOT NULL REFERENCES cycles (number),
        parent TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        dataset_sha256 TEXT NOT NULL,
        created_at double precision NOT NULL,
        state TEXT NOT NULL CHECK (
            state IN ('candidate', 'rejected', 'promoted', 'withdrawn', 'waiting', 'removed')
        ),
        scores TEXT NOT NULL DEFAULT '{}',
        pinned integer NOT NULL DEFAULT 0
    );
    CREATE TABLE releases (
        number bigint PRIMARY KEY,
        at double precision NOT NULL,
        adapter TEXT NOT NULL,
        previous TEXT NOT NULL,
        reason TEXT NOT NULL,
        cycle bigint NOT NULL DEFAULT 0,
        changed_by TEXT NOT NULL DEFAULT ''
    );
    CREATE TABLE lease (
        name TEXT PRIMARY KEY,
        token bigint NOT NULL,
        holder TEXT NOT NULL,
        renewed_at double precision NOT NULL,
        seen_at double precision NOT NULL DEFAULT 0
    );
    CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE evaluations (
        number bigint PRIMARY KEY,
        at double precision NOT NULL,
        model TEXT NOT NULL,
        suite TEXT NOT NULL,
        suite_sha256 TEXT NOT NULL,
        scores TEXT NOT NULL
    );
    CREATE INDEX evaluations_of_model ON evaluations (model, number);
    CREATE TABLE adapter_marks (
        adapter TEXT NOT NULL,
        at double precision NOT NULL,
        reason TEXT NOT NULL,
        PRIMARY KEY (adapter, reason)
    );
    CREATE TABLE made_tools (
        sha256 TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('waiting', 'approved', 'rejected')),
        created_at double precision NOT NULL,
        decided_at double precision,
        cycle bigint NOT NULL,
        maker TEXT NOT NULL,
        interaction_id TEXT NOT NULL,
        request TEXT NOT NULL,
        tool TEXT NOT NULL,
        examples TEXT NOT NULL
    );
    CREATE UNIQUE INDEX made_tools_in_use ON made_tools (name) WHERE state != 'rejected';
    CREATE TABLE seen_tools (
        source TEXT NOT NULL,
        tenant TEXT NOT NULL,
        owner TEXT NOT NULL,
        name TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        version bigint NOT NULL,
        tool TEXT NOT NULL,
        first_seen double precision NOT NULL,
        last_seen double precision NOT NULL,
        last_id TEXT NOT NULL,
        turns bigint NOT NULL,
        calls bigint NOT NULL,
        failures bigint NOT NULL,
        PRIMARY KEY (source, tenant, owner, name, sha256)
    );
    CREATE TABLE stage_times (
        cycle bigint NOT NULL REFERENCES cycles (number),
        stage TEXT NOT NULL,
        began_at double precision NOT NULL,
        ended_at double precision,
        PRIMARY KEY (cycle, stage)
    );
    CREATE TABLE copied_ledger (
        origin TEXT PRIMARY KEY,
        read TEXT NOT NULL,
        stored TEXT NOT NULL
    );
""".replace(" TEXT", ' text COLLATE "C"')

_TENANTS = "".join(
    f"ALTER TABLE {table} ADD COLUMN tenant text COLLATE \"C\" NOT NULL DEFAULT '';"
    for table in ("cycles", "releases", "evaluations")
)

STEPS: Steps = (
    *log_schema.STEPS,
    *shared_pointer.STEPS,
    ("evolver_001_ledger", _TABLES),
    ("evolver_002_tenants", _TENANTS),
)
"""Queries use functions that come with the log's tables. ``copied_ledger`` has the hashes of what a copy from files
read there, and of what it stored here."""
