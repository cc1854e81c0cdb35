"""Copies the ledger of a data folder, and its pointers to active adapters, from files to the Postgres database that
config.toml names.

One transaction: all is there or nothing. Again, it copies what has changed in the file since; a database in which
something else was stored is refused.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from agent.adapters import active, shared_pointer
from agent.adapters.package import check_adapter, folder_of
from agent.config import DataConfig
from agent.errors import AdapterError
from agent.log.copy_log import Copied, origin_of
from agent.storage.database import open_file
from agent.storage.postgres import open_postgres
from agent.storage.statements import LEDGER_LOCK, Statements
from evolver.store.lease import held
from evolver.store.ledger import FILE, Ledger
from evolver.store.migrations import migrations
from evolver.store.postgres_schema import STEPS
from toolkit.errors import UserError

_LEASE_SECONDS = 60.0


class Table(NamedTuple):
    """A table, its key, and its other columns."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]


TABLES = (
    Table(
        "cycles", ("number",),
        ("started_at", "ended_at", "status", "stage", "reason", "last_interaction_id", "summary", "tenant"),
    ),
    Table(
        "adapters", ("name",),
        ("cycle", "parent", "sha256", "dataset_sha256", "created_at", "state", "scores", "pinned"),
    ),
    Table("releases", ("number",), ("at", "adapter", "previous", "reason", "cycle", "changed_by", "tenant")),
    Table("settings", ("name",), ("value",)),
    Table("evaluations", ("number",), ("at", "model", "suite", "suite_sha256", "scores", "tenant")),
    Table("adapter_marks", ("adapter", "reason"), ("at",)),
    Table(
        "made_tools", ("sha256",),
        (
            *("name", "state", "created_at", "decided_at", "cycle", "maker", "interaction_id", "request", "tool"),
            "examples",
        ),
    ),
    Table(
        "seen_tools", ("source", "tenant", "owner", "name", "sha256"),
        ("version", "tool", "first_seen", "last_seen", "last_id", "turns", "calls", "failures"),
    ),
    Table("stage_times", ("cycle", "stage"), ("began_at", "ended_at")),
)  # fmt: skip
"""All tables but the lease, each after those that it refers to."""

_TENANT = "tenant"
"""The column that came later, the last one of those tables that have it beside their key."""

Rows = dict[str, list[tuple[Any, ...]]]
Pointers = Mapping[str, active.ActiveAdapter]


def copy_ledger(config: DataConfig, say: Callable[[str], None]) -> list[Copied]:
    """Copy ledger and pointers, and return what became of each table. ``say`` hears of what takes long, and of the
    pointers of tenants that are damaged, which are left out.

    Raises UserError where a cycle runs, or the database has another ledger or one that is in use; StorageError.
    """
    data, url = config.data_folder, config.agent.database
    file = data / FILE
    pointers = _pointers(data, say)
    if not file.exists() and pointers == {"": active.ActiveAdapter()}:
        return []
    for name, sha256 in dict.fromkeys(one for pointer in pointers.values() for one in pointer.named):
        say(f"storing the files of {name}")
        check_adapter(folder_of(data, name), sha256=sha256)
        shared_pointer.store_files(url, folder_of(data, name), sha256)
    with (
        Ledger(file, database=open_file(file, migrations)) as source,
        closing(open_postgres(url, STEPS, lock=LEDGER_LOCK)) as target,
        held(source, _LEASE_SECONDS, runs_cycle=False),
        source.reading() as here,
        target.transaction() as there,
    ):
        return _copy(_rows(here), there, data, url, pointers)


def _pointers(data: Path, say: Callable[[str], None]) -> Pointers:
    """Return the pointers in files, by tenant."""
    found = {"": active.read_here(data)}
    for tenant in active.tenants_here(data):
        try:
            found[tenant] = active.read_here(data, tenant)
        except AdapterError as error:
            say(f"{error}; it is not copied")
    return found


def _copy(rows: Rows, there: Statements, data: Path, url: str, pointers: Pointers) -> list[Copied]:
    origin, before = origin_of(data), _rows(there)
    known = there.execute("SELECT origin, read, stored FROM copied_ledger").fetchone()
    read = _digest(rows, {tenant: pointer.model_dump_json() for tenant, pointer in pointers.items()})
    if known is not None and known[:2] == (origin, read):
        return [_copied(table, before, before) for table in TABLES]
    stored = (known or ("", "", _digest({}, {})))[2]
    if (known is not None and known[0] != origin) or _is_of_another(there, origin):
        raise UserError(f"{url}: has another ledger or log; name an empty database in [agent] database")
    if stored not in _digests(before, shared_pointer.read_all(there)):
        raise UserError(f"{url}: its ledger is in use already: something was stored there that is not in {data / FILE}")
    for table in reversed(TABLES):
        there.execute(f"DELETE FROM {table.name}")
    for table in TABLES:
        names = (*table.key, *table.columns)
        insert = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join('?' for _ in names)})"
        for row in rows[table.name]:
            there.execute(insert, row)
    shared_pointer.forget_tenants(there)
    for tenant, pointer in pointers.items():
        active.write(data, pointer, there, tenant=tenant)
    after = _rows(there)
    there.execute("DELETE FROM copied_ledger")
    there.execute(
        "INSERT INTO copied_ledger (origin, read, stored) VALUES (?, ?, ?)",
        (origin, read, _digest(after, shared_pointer.read_all(there))),
    )
    return [_copied(table, before, after) for table in TABLES]


def _is_of_another(there: Statements, origin: str) -> bool:
    """Return whether the database has the log of another data folder."""
    return there.execute("SELECT 1 FROM copied WHERE origin != ?", (origin,)).fetchone() is not None


def _rows(db: Statements) -> Rows:
    """Return all rows of each table, in the order of their keys."""
    found = {}
    for table in TABLES:
        columns = ", ".join((*table.key, *table.columns))
        rows = db.execute(f"SELECT {columns} FROM {table.name} ORDER BY {', '.join(table.key)}").fetchall()
        found[table.name] = [tuple(row) for row in rows]
    return found


def _digest(rows: Rows, pointers: Mapping[str, str]) -> str:
    """Return a hash of ``rows`` and of ``pointers``, JSON by tenant; without tenants, that of before there were any."""
    present = {name: some for name, some in rows.items() if some}
    tenants = {tenant: text for tenant, text in pointers.items() if tenant}
    told = [present, pointers.get("", ""), *([tenants] if tenants else [])]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _digests(rows: Rows, pointers: Mapping[str, str]) -> set[str]:
    """Return the digest of ``rows``, and where all are everybody's, the one of before there were tenants."""
    whose = {table.name: table.columns[-1] == _TENANT for table in TABLES}
    found = {_digest(rows, pointers)}
    if not any(row[-1] for name, some in rows.items() if whose[name] for row in some):
        bare = {name: [row[:-1] if whose[name] else row for row in some] for name, some in rows.items()}
        found.add(_digest(bare, pointers))
    return found


def _copied(table: Table, before: Rows, after: Rows) -> Copied:
    """Return what became of the rows of ``table``, those of one key being the same row."""
    width = len(table.key)
    old, new = ({row[:width]: row for row in rows[table.name]} for rows in (before, after))
    changed = sum(new[key] != old[key] for key in new.keys() & old.keys())
    return Copied(table.name, len(new.keys() - old.keys()), changed, len(old.keys() - new.keys()), len(new))
