"""evolution.db: cycles, adapters with their lineage and scores, and every change of what serves.

The evolver is its only writer. Each method is one transaction that is on disk when it returns.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.database import open_database
from evolver.migrations import migrations
from evolver.types import Adapter, CycleStatus, Frozen


class CycleRow(Frozen):
    """One cycle. ``summary`` holds what the stages reported."""

    number: int
    started_at: float
    ended_at: float | None
    status: CycleStatus
    stage: str
    reason: str
    last_interaction_id: str
    summary: dict[str, Any]


class AdapterRow(Frozen):
    """One adapter. ``parent`` is the adapter that it continues, or ``base``."""

    name: str
    cycle: int
    parent: str
    sha256: str
    dataset_sha256: str
    created_at: float
    state: str
    scores: dict[str, Any]


class Release(Frozen):
    """One change of what serves."""

    at: float
    adapter: str
    previous: str
    reason: str


class Ledger:
    """An open ledger; use it in a ``with``. Raises agent.errors.StorageError."""

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._db = open_database(path, migrations)

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *exc: object) -> None:
        self._db.close()

    def open_cycle(self) -> CycleRow:
        """The cycle that was interrupted, or a new one."""
        with self._db.transaction() as db:
            row = db.execute("SELECT max(number) FROM cycles WHERE status = 'running'").fetchone()
            number = row[0]
            if number is None:
                number = 1 + (db.execute("SELECT max(number) FROM cycles").fetchone()[0] or 0)
                db.execute(
                    "INSERT INTO cycles (number, started_at, status) VALUES (?, ?, 'running')", (number, self._now())
                )
        return self.cycles(number)[0]

    def stage_begins(self, cycle: int, stage: str) -> None:
        with self._db.transaction() as db:
            db.execute("UPDATE cycles SET stage = ? WHERE number = ?", (stage, cycle))

    def note(self, cycle: int, key: str, value: Any) -> None:
        """Put ``value`` (JSON) into the cycle's summary under ``key``."""
        with self._db.transaction() as db:
            summary = json.loads(db.execute("SELECT summary FROM cycles WHERE number = ?", (cycle,)).fetchone()[0])
            summary[key] = value
            db.execute("UPDATE cycles SET summary = ? WHERE number = ?", (json.dumps(summary), cycle))

    def end_cycle(self, cycle: int, status: CycleStatus, reason: str, last_interaction_id: str = "") -> None:
        with self._db.transaction() as db:
            db.execute(
                "UPDATE cycles SET status = ?, reason = ?, ended_at = ?, last_interaction_id = ? WHERE number = ?",
                (status, reason, self._now(), last_interaction_id, cycle),
            )

    def cycles(self, number: int | None = None) -> list[CycleRow]:
        """All cycles, the newest first; or the one with ``number``."""
        where, values = ("WHERE number = ?", (number,)) if number is not None else ("", ())
        columns = "number, started_at, ended_at, status, stage, reason, last_interaction_id, summary"
        with self._db.transaction() as db:
            rows = db.execute(f"SELECT {columns} FROM cycles {where} ORDER BY number DESC", values).fetchall()
        names = columns.split(", ")
        return [
            CycleRow.model_validate({**dict(zip(names, row, strict=True)), "summary": json.loads(row[-1])})
            for row in rows
        ]

    def mined_up_to(self) -> str:
        """The last interaction that a finished cycle has seen; "" before the first."""
        with self._db.transaction() as db:
            done = "status IN ('promoted', 'rejected')"
            return db.execute(f"SELECT max(last_interaction_id) FROM cycles WHERE {done}").fetchone()[0] or ""

    def add_adapter(self, adapter: Adapter, cycle: int, parent: str, dataset_sha256: str) -> None:
        """Register a candidate; again for the same adapter changes nothing."""
        with self._db.transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO adapters (name, cycle, parent, sha256, dataset_sha256, created_at, state) "
                "VALUES (?, ?, ?, ?, ?, ?, 'candidate')",
                (adapter.name, cycle, parent, adapter.sha256, dataset_sha256, self._now()),
            )

    def judge_adapter(self, name: str, state: str, scores: dict[str, Any] | None = None) -> None:
        with self._db.transaction() as db:
            db.execute("UPDATE adapters SET state = ? WHERE name = ?", (state, name))
            if scores is not None:
                db.execute("UPDATE adapters SET scores = ? WHERE name = ?", (json.dumps(scores), name))

    def adapters(self) -> list[AdapterRow]:
        """All adapters, the newest first."""
        columns = "name, cycle, parent, sha256, dataset_sha256, created_at, state, scores"
        with self._db.transaction() as db:
            rows = db.execute(f"SELECT {columns} FROM adapters ORDER BY name DESC").fetchall()
        names = columns.split(", ")
        return [
            AdapterRow.model_validate({**dict(zip(names, row, strict=True)), "scores": json.loads(row[-1])})
            for row in rows
        ]

    def adapter(self, name: str) -> AdapterRow | None:
        return next((row for row in self.adapters() if row.name == name), None)

    def record_release(self, adapter: str, previous: str, reason: str) -> None:
        with self._db.transaction() as db:
            db.execute(
                "INSERT INTO releases (at, adapter, previous, reason) VALUES (?, ?, ?, ?)",
                (self._now(), adapter, previous, reason),
            )

    def releases(self) -> list[Release]:
        """Every change of what serves, the newest first."""
        with self._db.transaction() as db:
            rows = db.execute("SELECT at, adapter, previous, reason FROM releases ORDER BY number DESC").fetchall()
        return [
            Release(at=at, adapter=adapter, previous=previous, reason=reason) for at, adapter, previous, reason in rows
        ]
