"""Copies the interaction log of a data folder from its SQLite file to the Postgres database that config.toml names.

What is there already stays, what has changed in the file since is changed, what was forgotten in it is removed: a copy
that was cut off is repeated. A database with anything else in it is refused.
"""

import json
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from agent.config import Config
from agent.errors import StorageError
from agent.log.interaction_log import FILE
from agent.log.migrations import migrations
from agent.log.postgres_schema import STEPS
from agent.log.search_index import keep_words
from agent.storage.database import open_file
from agent.storage.postgres import PostgresDatabase, open_postgres
from agent.storage.process_lock import SERVE, process_lock
from agent.storage.statements import Statements
from toolkit import durable_file
from toolkit.errors import UserError

ORIGIN = "interactions.id"
"""The file that names a log: its copies know by it where they come from."""
_BATCH = 500


class Table(NamedTuple):
    """A table, its key, the value before the first key, and its other columns. ``shrinks``: rows of it are deleted."""

    name: str
    key: str
    before: Any
    columns: tuple[str, ...]
    shrinks: bool = True


TABLES = (
    Table(
        "interactions",
        "id",
        "",
        (
            *("session", "source", "created_at", "adapter", "stop_reason", "trajectory", "tool_schemas"),
            *("owner", "tenant", "reference", "continues"),
        ),
    ),
    Table("feedback", "number", 0, ("interaction_id", "verdict", "note", "created_at", "expected")),
    Table("imported", "digest", b"", ("interaction_id", "content"), shrinks=False),
    Table(
        "shadow_comparisons",
        "number",
        0,
        ("created_at", "tool", "adapter", "upstream", "same_call", "same_arguments", "same_result"),
        shrinks=False,
    ),
)


class Copied(NamedTuple):
    """The rows of a table by what became of them; ``total`` are there now."""

    table: str
    new: int
    changed: int
    removed: int
    total: int


Copy = Callable[[Config, Callable[[str], None]], list[Copied]]
"""Copies something else of a data folder, and returns what became of each table."""


def copy_log(
    config: Config, say: Callable[[str], None] = lambda line: None, others: Sequence[Copy] = ()
) -> list[Copied]:
    """Copy the log, and return what became of each table. ``say`` hears of each batch.

    ``others`` come first: a log that gateways have used is refused, and what else is here may be copied still.
    Raises UserError where there is nothing to copy, a server runs, or the database has another log; StorageError.
    """
    data, url = config.data_folder, config.agent.database
    if not url:
        raise UserError("[agent] database is empty; name the Postgres database there")
    with process_lock(data, SERVE) as held_by:
        if held_by is not None:
            raise UserError(f"process {held_by} serves from {data}; stop it first: agent stop")
        copied = [table for copy in others for table in copy(config, say)]
        if not (data / FILE).exists():
            if copied:  # the log was on Postgres from the start
                return copied
            raise UserError(f"{data / FILE} does not exist: there is nothing to copy")
        with (
            closing(open_file(data / FILE, migrations)) as file,
            closing(open_postgres(url, STEPS)) as target,
            file.transaction("BEGIN") as source,
        ):
            return copied + _Copy(source, target, url, say).run(origin_of(data))


class _Copy:
    """One run. ``_there`` has the number of rows of each table in the target, and its greatest key."""

    def __init__(self, source: Statements, target: PostgresDatabase, url: str, say: Callable[[str], None]) -> None:
        self._source, self._target, self._url, self._say = source, target, url, say
        self._there: dict[str, list[Any]] = {}

    def run(self, origin: str) -> list[Copied]:
        self._claim(origin)
        removed = self._remove()
        copied = [self._copy(table, removed[table.name]) for table in TABLES]
        with self._target.transaction() as db:
            for table in ("feedback", "shadow_comparisons"):  # what is stored next gets a number of its own
                db.execute(
                    f"SELECT setval(pg_get_serial_sequence('{table}', 'number'), max(number)) FROM {table} "
                    "HAVING max(number) IS NOT NULL"
                )
            for table in copied:
                if _count(self._source, table.table) != _count(db, table.table):
                    raise StorageError(f"{self._url}: lacks rows of {table.table}; run it again")
        return copied

    def _claim(self, origin: str) -> None:
        """Make the database that of ``origin``; refuse one in which something else is."""
        with self._target.transaction() as db:
            self._there = {table.name: _standing(db, table) for table in TABLES}
            row = db.execute("SELECT origin, rows FROM copied").fetchone()
            if row is None and not any(count for count, _ in self._there.values()):
                db.execute("INSERT INTO copied (origin, rows) VALUES (?, ?)", (origin, json.dumps(self._there)))
            elif row is None or row[0] != origin:
                raise UserError(f"{self._url}: has another log; name an empty database in [agent] database")
            elif json.loads(row[1]) != self._there:
                raise UserError(f"{self._url}: is in use already: something was stored or deleted there since the copy")

    def _remove(self) -> dict[str, int]:
        """Remove what the file no longer has, and return how many rows that were, by table."""
        gone = {table.name: self._gone(table) if table.shrinks else [] for table in TABLES}
        if any(gone.values()):
            with self._target.erasing("interactions", "feedback", "said") as db:
                for key in gone["interactions"]:  # a number of its feedback may be that of another's now
                    db.execute("DELETE FROM feedback WHERE interaction_id = ?", (key,))
                for table in reversed(TABLES):
                    for key in gone[table.name]:
                        db.execute(f"DELETE FROM {table.name} WHERE {table.key} = ?", (key,))
                self._there = {table.name: _standing(db, table) for table in TABLES}
                self._remember(db)
        return {name: len(keys) for name, keys in gone.items()}

    def _gone(self, table: Table) -> list[Any]:
        gone: list[Any] = []
        last = table.before
        while True:
            page = f"SELECT {table.key} FROM {table.name} WHERE {table.key} > ? ORDER BY {table.key} LIMIT {_BATCH}"
            with self._target.transaction("BEGIN") as db:
                keys = [key for (key,) in db.execute(page, (last,)).fetchall()]
            if not keys:
                return gone
            kept = f"SELECT {table.key} FROM {table.name} WHERE {table.key} IN (SELECT value FROM json_each(?))"
            here = {key for (key,) in self._source.execute(kept, (json.dumps(keys),)).fetchall()}
            gone += [key for key in keys if key not in here]
            last = keys[-1]

    def _copy(self, table: Table, removed: int) -> Copied:
        columns = ", ".join((table.key, *table.columns))
        page = f"SELECT {columns} FROM {table.name} WHERE {table.key} > ? ORDER BY {table.key} LIMIT {_BATCH}"
        new = changed = 0
        last = table.before
        while rows := self._source.execute(page, (last,)).fetchall():
            with self._target.transaction() as db:
                found = [_put(db, table, row) for row in rows]
                count, greatest = self._there[table.name]
                last = rows[-1][0]
                self._there[table.name] = [count + found.count(True), _later(table, last, greatest)]
                self._remember(db)
            new, changed = new + found.count(True), changed + found.count(False)
            self._say(f"{table.name}: {new} copied")
        return Copied(table.name, new, changed, removed, self._there[table.name][0])

    def _remember(self, db: Statements) -> None:
        db.execute("UPDATE copied SET rows = ?", (json.dumps(self._there),))


def _put(db: Statements, table: Table, row: Sequence[Any]) -> bool | None:
    """Store a row; return whether it is new, None where it was there as it is."""
    names = (table.key, *table.columns)
    before, now = (", ".join(f"{side}.{name}" for name in table.columns) for side in (table.name, "excluded"))
    changes = ", ".join(f"{name} = excluded.{name}" for name in table.columns)
    query = (
        f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join('?' for _ in names)}) "
        f"ON CONFLICT ({table.key}) DO UPDATE SET {changes} WHERE ({before}) IS DISTINCT FROM ({now}) "
        "RETURNING xmax = 0"
    )
    stored = db.execute(query, tuple(row)).fetchone()
    if stored is None:
        return None
    if stored[0] and table.name == "interactions":
        keep_words(db, row[0], row[1 + table.columns.index("trajectory")])
    return stored[0]


def _standing(db: Statements, table: Table) -> list[Any]:
    """Return the number of rows and the greatest key, None where it is no text or number."""
    if isinstance(table.before, bytes):
        return [_count(db, table.name), None]
    return list(db.execute(f"SELECT count(*), max({table.key}) FROM {table.name}").fetchone())


def _later(table: Table, last: Any, greatest: Any) -> Any:
    if isinstance(table.before, bytes):
        return None
    return last if greatest is None else max(last, greatest)


def _count(db: Statements, table: str) -> int:
    return db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def origin_of(data_folder: Path) -> str:
    """Return the name of the log in ``data_folder``, given to it the first time."""
    file = data_folder / ORIGIN
    if not file.exists():
        durable_file.replace(file, uuid.uuid4().hex.encode())
    return file.read_text(encoding="ascii")
