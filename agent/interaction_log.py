"""The interaction log: every turn and every word on it, in data/interactions.db.

Written by agent commands and the gateway, each append one transaction that is on disk when it returns. The evolver
opens the same file read-only.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from sqlite_utils import Database
from sqlite_utils.utils import sqlite3  # pyright: ignore[reportPrivateImportUsage]  # pysqlite3 where there is one

from agent.errors import StorageError
from agent.messages import Feedback, Interaction, Trajectory
from agent.migrations import migrations
from toolkit.errors import PrerequisiteError, UserError

MINIMUM_SQLITE = (3, 51, 3)
"""Older versions can corrupt a WAL database that two connections write (sqlite.org/wal.html, "the WAL-reset bug")."""

_BUSY_SECONDS = 30.0


class InteractionLog:
    """An open log; may be shared by threads. Raises StorageError, and PrerequisiteError when SQLite is too old."""

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        check_sqlite_version()
        self._path = path
        self._now = now
        self._lock = threading.Lock()
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            self._db = Database(_connect(f"{path.absolute().as_uri()}?mode=rw"))
            self._db.enable_wal()
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA foreign_keys=ON")
            with self._transaction():
                migrations.apply(self._db)

    @classmethod
    def open_readonly(cls, path: Path) -> "InteractionLog":
        """For readers that must not write, not even by mistake. A log that does not exist yet reads as empty."""
        check_sqlite_version()
        log = cls.__new__(cls)
        log._path, log._now, log._lock = path, time.time, threading.Lock()
        with log._explained():
            if path.exists():
                log._db = Database(_connect(f"{path.absolute().as_uri()}?mode=ro"))
                log._db.execute("PRAGMA query_only=ON")
            else:
                log._db = Database(memory=True)
                migrations.apply(log._db)
                log._db.execute("PRAGMA query_only=ON")
        return log

    def __enter__(self) -> "InteractionLog":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def append(
        self, trajectory: Trajectory, *, session: str, source: str, tool_schemas: Sequence[dict[str, Any]] = ()
    ) -> str:
        """Store one turn; returns its id. Ids sort by the order in which turns were stored, over all processes."""
        payload = trajectory.model_dump_json()
        schemas = json.dumps(list(tool_schemas), ensure_ascii=False)
        with self._explained(), self._lock, self._transaction():
            newest = self._db.execute("SELECT max(id) FROM interactions").fetchone()[0]
            created_at = self._now()
            identity = _next_id(created_at, newest)
            self._db.execute(
                "INSERT INTO interactions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (identity, session, source, created_at, trajectory.adapter, trajectory.stop_reason, payload, schemas),
            )
        return identity

    def feedback(self, interaction_id: str, verdict: Literal["good", "bad"], note: str = "") -> None:
        """Store a person's word on one interaction. Raises UserError when there is no such interaction."""
        with self._explained(), self._lock, self._transaction():
            if self._db.execute("SELECT 1 FROM interactions WHERE id = ?", (interaction_id,)).fetchone() is None:
                raise UserError(f"there is no interaction {interaction_id}; see their ids with: agent log")
            self._db.execute(
                "INSERT INTO feedback (interaction_id, verdict, note, created_at) VALUES (?, ?, ?, ?)",
                (interaction_id, verdict, note, self._now()),
            )

    def read(self, limit: int | None = None, since_id: str | None = None) -> list[Interaction]:
        """Interactions, oldest first: those after ``since_id``; ``limit`` keeps the first of them.

        Without ``since_id``, ``limit`` keeps the newest.
        """
        if since_id is None:
            return self._select("", (), limit)
        return self._select("WHERE id > ?", (since_id,), limit, newest=False)

    def read_session(self, session: str, *, source: str, limit: int) -> list[Interaction]:
        """The newest ``limit`` interactions of a session, oldest first."""
        return self._select("WHERE source = ? AND session = ?", (source, session), limit)

    def _select(
        self, where: str, values: tuple[Any, ...], limit: int | None, *, newest: bool = True
    ) -> list[Interaction]:
        order = "DESC" if newest else "ASC"
        columns = "id, session, source, created_at, trajectory, tool_schemas"
        query = f"SELECT {columns} FROM interactions {where} ORDER BY id {order} LIMIT ?"
        # One read transaction: feedback belongs to the same state of the log as the interactions.
        with self._explained(), self._lock, self._transaction("BEGIN"):
            rows = self._db.execute(query, (*values, -1 if limit is None else limit)).fetchall()
            said = {row[0]: self._feedback_on(row[0]) for row in rows}
        found = [
            Interaction(
                id=row[0],
                session=row[1],
                source=row[2],
                created_at=row[3],
                trajectory=Trajectory.model_validate_json(row[4]),
                tool_schemas=tuple(json.loads(row[5])),
                feedback=said[row[0]],
            )
            for row in rows
        ]
        return found[::-1] if newest else found

    def _feedback_on(self, identity: str) -> tuple[Feedback, ...]:
        rows = self._db.execute(
            "SELECT verdict, note FROM feedback WHERE interaction_id = ? ORDER BY number", (identity,)
        ).fetchall()
        return tuple(Feedback(interaction_id=identity, verdict=verdict, note=note) for verdict, note in rows)

    @contextmanager
    def _transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
        self._db.conn.execute(begin)
        try:
            yield
            self._db.conn.execute("COMMIT")
        except BaseException:
            self._db.rollback()
            raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"{self._path}: {_explain(error)}") from error


def check_sqlite_version(version: str | None = None) -> None:
    """Raises PrerequisiteError when the SQLite in use is older than MINIMUM_SQLITE."""
    version = version or sqlite3.sqlite_version
    if tuple(int(part) for part in version.split(".")) < MINIMUM_SQLITE:
        needed = ".".join(map(str, MINIMUM_SQLITE))
        raise PrerequisiteError(f"SQLite {version} is too old ({needed} or newer is needed): pip install -U pysqlite3")


def _connect(uri: str) -> Any:
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, check_same_thread=False)


def _next_id(created_at: float, newest: str | None) -> str:
    """Milliseconds since the epoch and a running number, in hex: later ids are greater, also if the clock goes back."""
    moment, number = int(created_at * 1000), 0
    if newest is not None:
        last_moment, last_number = (int(part, 16) for part in newest.split("-"))
        if moment <= last_moment:
            moment, number = last_moment, last_number + 1
    return f"{moment:012x}-{number:04x}"


def _explain(error: Exception) -> str:
    text = str(error)
    if "disk is full" in text or getattr(error, "errno", None) == 28:
        return "the disk is full; free some space and try again"
    if "readonly" in text or "unable to open" in text or isinstance(error, PermissionError):
        return "cannot be written; give yourself the right to write there, or set data_folder in config.toml"
    if "malformed" in text or "not a database" in text:
        return "is damaged; move it away or restore a backup"
    if "locked" in text:
        return "another program keeps it locked; end that program and try again"
    return f"{text}; check that folder's disk and rights"
