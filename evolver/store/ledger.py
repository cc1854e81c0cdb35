"""The ledger: cycles, adapters with their lineage and scores, and every change of the active adapter.

It is the file evolution.db, or tables of the Postgres database that ``[agent] database`` names. The evolver is its only
writer. Each method is one transaction that is on disk when it returns; those called inside
``together`` are one transaction all together.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.errors import StorageError
from agent.storage.database import Database, open_database, open_file_readonly, open_readonly
from agent.storage.database_server import server_of
from agent.storage.statements import LEDGER_LOCK, OpenDatabase, Statements
from evolver.scores import ChatReport, EvalReport
from evolver.store.ledger_rows import FINISHED, AdapterRow, CycleRow, Evaluation, Release
from evolver.store.migrations import migrations
from evolver.store.postgres_schema import STEPS
from evolver.types import Adapter, CycleStatus

FILE = "evolution.db"


class Ledger:
    """An open ledger that threads may share; use it in a ``with``. Raises agent.errors.StorageError.

    ``fence`` is asked at the beginning of every writing transaction; what it raises undoes the transaction. ``tenant``:
    whose cycles are opened, and whose releases are read and recorded; "" for everybody's. All else is of all tenants.
    """

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], float] = time.time,
        database: OpenDatabase | None = None,
        tenant: str = "",
    ) -> None:
        self.now = now
        self.tenant = tenant
        self._db = database or open_database(path, migrations, STEPS, lock=LEDGER_LOCK)
        self._mine = threading.local()
        self.fence: Callable[[Statements], None] = lambda db: None
        try:
            self._check_moved(path)
        except BaseException:
            self._db.close()
            raise

    @classmethod
    def open_readonly(cls, path: Path, *, tenant: str = "") -> "Ledger":
        """Open the ledger for a reader that must not write. One that does not exist yet reads as empty."""
        return cls(path, database=open_readonly(path, migrations, STEPS), tenant=tenant)

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *exc: object) -> None:
        self._db.close()

    def _check_moved(self, path: Path) -> None:
        """Raise StorageError where the cycles are in the file, and the server that is to have them has none."""
        if not server_of(path.parent) or isinstance(self._db, Database) or not path.exists() or self._has_cycles():
            return
        with Ledger(path, database=open_file_readonly(path, migrations)) as file:
            if file._has_cycles():
                raise StorageError(f"{path}: its ledger is not on {server_of(path.parent)} yet; run: agent db copy")

    def _has_cycles(self) -> bool:
        with self.reading() as db:
            return db.execute("SELECT 1 FROM cycles LIMIT 1").fetchone() is not None

    @contextmanager
    def together(self, *, fenced: bool = True) -> Iterator[Statements]:
        """Make all writes of the block one transaction; no other process writes to the ledger meanwhile."""
        db = getattr(self._mine, "db", None)
        if db is not None:
            yield db
            return
        with self._db.transaction() as db:
            if fenced:
                self.fence(db)
            self._mine.db = db
            try:
                yield db
            finally:
                self._mine.db = None

    def open_cycle(self) -> CycleRow:
        """Return the cycle of this tenant that was interrupted, or open a new one."""
        interrupted = "SELECT max(number) FROM cycles WHERE status = 'running' AND tenant = ?"
        with self.together() as db:
            number = db.execute(interrupted, (self.tenant,)).fetchone()[0]
            if number is None:
                number = 1 + (db.execute("SELECT max(number) FROM cycles").fetchone()[0] or 0)
                db.execute(
                    "INSERT INTO cycles (number, started_at, status, tenant) VALUES (?, ?, 'running', ?)",
                    (number, self.now(), self.tenant),
                )
        return self.cycles(number)[0]

    def stage_begins(self, cycle: int, stage: str) -> None:
        """Note where the cycle is. A stage that was cut off and goes on keeps the time at which it began."""
        with self.together() as db:
            db.execute("UPDATE cycles SET stage = ? WHERE number = ?", (stage, cycle))
            db.execute(
                "INSERT INTO stage_times (cycle, stage, began_at) VALUES (?, ?, ?) ON CONFLICT (cycle, stage) "
                "DO UPDATE SET ended_at = NULL, began_at = "
                "CASE WHEN stage_times.ended_at IS NULL THEN stage_times.began_at ELSE excluded.began_at END",
                (cycle, stage, self.now()),
            )

    def stage_ends(self, cycle: int, stage: str, summary: dict[str, Any]) -> None:
        """Note what a stage reports, and that it ended now."""
        with self.together() as db:
            self.note(cycle, stage, summary)
            ended = "UPDATE stage_times SET ended_at = ? WHERE cycle = ? AND stage = ?"
            db.execute(ended, (self.now(), cycle, stage))

    def stage_seconds(self, cycle: int) -> dict[str, float]:
        """Return the seconds from begin to end of each stage that ended, pauses in between included.

        Cycles of before these times were kept have none.
        """
        query = "SELECT stage, ended_at - began_at FROM stage_times WHERE cycle = ? AND ended_at IS NOT NULL"
        with self.reading() as db:
            return {stage: max(0.0, seconds) for stage, seconds in db.execute(query, (cycle,)).fetchall()}

    def note(self, cycle: int, key: str, value: Any) -> None:
        """Put ``value`` (JSON) into the cycle's summary under ``key``."""
        with self.together() as db:
            summary = json.loads(db.execute("SELECT summary FROM cycles WHERE number = ?", (cycle,)).fetchone()[0])
            summary[key] = value
            db.execute("UPDATE cycles SET summary = ? WHERE number = ?", (json.dumps(summary), cycle))

    def end_cycle(self, cycle: int, status: CycleStatus, reason: str, last_interaction_id: str = "") -> None:
        with self.together() as db:
            db.execute(
                "UPDATE cycles SET status = ?, reason = ?, ended_at = ?, last_interaction_id = ? WHERE number = ?",
                (status, reason, self.now(), last_interaction_id, cycle),
            )

    def own_cycles(self) -> list[CycleRow]:
        """Return the cycles of this tenant, the newest first."""
        return [row for row in self.cycles() if row.tenant == self.tenant]

    def cycles(self, number: int | None = None) -> list[CycleRow]:
        """Return all cycles, the newest first; or the one with ``number``."""
        where, values = ("WHERE number = ?", (number,)) if number is not None else ("", ())
        columns = "number, started_at, ended_at, status, stage, reason, last_interaction_id, tenant, summary"
        with self.reading() as db:
            rows = db.execute(f"SELECT {columns} FROM cycles {where} ORDER BY number DESC", values).fetchall()
        names = columns.split(", ")
        return [
            CycleRow.model_validate({**dict(zip(names, row, strict=True)), "summary": json.loads(row[-1])})
            for row in rows
        ]

    def mined_up_to(self) -> str:
        """Return the last interaction that a finished cycle of this tenant has seen; "" before the first."""
        with self.reading() as db:
            query = f"SELECT max(last_interaction_id) FROM cycles WHERE status IN {FINISHED} AND tenant = ?"
            return db.execute(query, (self.tenant,)).fetchone()[0] or ""

    def add_adapter(self, adapter: Adapter, cycle: int, parent: str, dataset_sha256: str) -> None:
        """Register a candidate; again for the same adapter changes nothing.

        One that a cycle made anew, as on another machine that goes on with it, takes the place of the first one, unless
        that was judged.
        """
        with self.together() as db:
            db.execute(
                "INSERT INTO adapters (name, cycle, parent, sha256, dataset_sha256, created_at, state) "
                "VALUES (?, ?, ?, ?, ?, ?, 'candidate') ON CONFLICT (name) DO UPDATE SET parent = excluded.parent, "
                "sha256 = excluded.sha256, dataset_sha256 = excluded.dataset_sha256, created_at = excluded.created_at "
                "WHERE adapters.state = 'candidate' AND adapters.sha256 != excluded.sha256",
                (adapter.name, cycle, parent, adapter.sha256, dataset_sha256, self.now()),
            )

    def set_adapter_state(self, name: str, state: str, scores: dict[str, Any] | None = None) -> None:
        with self.together() as db:
            db.execute("UPDATE adapters SET state = ? WHERE name = ?", (state, name))
            if scores is not None:
                db.execute("UPDATE adapters SET scores = ? WHERE name = ?", (json.dumps(scores), name))

    def pin(self, name: str, pinned: bool) -> None:
        with self.together() as db:
            db.execute("UPDATE adapters SET pinned = ? WHERE name = ?", (int(pinned), name))

    def adapters(self) -> list[AdapterRow]:
        """Return all adapters, the newest first."""
        names = ["name", "cycle", "parent", "sha256", "dataset_sha256", "created_at", "state", "pinned"]
        whose = "coalesce((SELECT tenant FROM cycles WHERE cycles.number = adapters.cycle), '')"
        with self.reading() as db:
            query = f"SELECT {', '.join(names)}, {whose}, scores FROM adapters ORDER BY name DESC"
            rows = db.execute(query).fetchall()
        names += ["tenant", "scores"]
        return [
            AdapterRow.model_validate({**dict(zip(names, row, strict=True)), "scores": json.loads(row[-1])})
            for row in rows
        ]

    def adapter(self, name: str) -> AdapterRow | None:
        return next((row for row in self.adapters() if row.name == name), None)

    def record_evaluation(self, report: EvalReport | ChatReport) -> None:
        """Record a report, unless the tenant's last one of this model and suite has the same result."""
        scores = report.model_dump(mode="json", exclude={"items", "model", "suite", "suite_sha256"})
        measured = (report.model, report.suite, report.suite_sha256, json.dumps(scores))
        newest = "SELECT max(number) FROM evaluations WHERE tenant = ? AND model = ? AND suite = ?"
        known = f"SELECT 1 FROM evaluations WHERE number = ({newest}) AND suite_sha256 = ? AND scores = ?"
        with self.together() as db:
            if db.execute(known, (self.tenant, *measured)).fetchone() is None:
                db.execute(
                    "INSERT INTO evaluations (number, at, tenant, model, suite, suite_sha256, scores) "
                    f"VALUES ({_next('evaluations')}, ?, ?, ?, ?, ?, ?)",
                    (self.now(), self.tenant, *measured),
                )

    def evaluations(self, model: str | None = None) -> list[Evaluation]:
        """Return the measurements, the newest first; those of ``model`` alone, where it is named."""
        columns = "at, model, suite, suite_sha256, tenant, scores"
        query = f"SELECT {columns} FROM evaluations WHERE ? IN (model, '') ORDER BY number DESC"
        with self.reading() as db:
            rows = db.execute(query, (model or "",)).fetchall()
        names = columns.split(", ")
        return [
            Evaluation.model_validate({**dict(zip(names, row, strict=True)), "scores": json.loads(row[-1])})
            for row in rows
        ]

    def mark_adapter(self, name: str, reason: str) -> None:
        """Say something of an adapter that stays with it; the same again changes nothing."""
        with self.together() as db:
            db.execute(
                "INSERT INTO adapter_marks (adapter, at, reason) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (name, self.now(), reason),
            )

    def marks(self) -> dict[str, list[str]]:
        """Return the remarks on each adapter, the oldest first."""
        with self.reading() as db:
            rows = db.execute("SELECT adapter, reason FROM adapter_marks ORDER BY at, reason").fetchall()
        found: dict[str, list[str]] = {}
        for name, reason in rows:
            found.setdefault(name, []).append(reason)
        return found

    def record_release(
        self, adapter: str, previous: str, reason: str, *, by: str = "", cycle: int = 0, number: int | None = None
    ) -> None:
        """Record a change of this tenant's active adapter; ``number`` None, or taken by another tenant's: the next
        one."""
        with self.together() as db:
            taken = db.execute("SELECT 1 FROM releases WHERE number = ? AND tenant != ?", (number, self.tenant))
            free = number if taken.fetchone() is None else None
            db.execute(
                "INSERT INTO releases (number, at, adapter, previous, reason, changed_by, cycle, tenant) "
                f"VALUES (coalesce(?, {_next('releases')}), ?, ?, ?, ?, ?, ?, ?)",
                (free, self.now(), adapter, previous, reason, by, cycle, self.tenant),
            )

    def releases(self) -> list[Release]:
        """Return every change of this tenant's active adapter, the newest first."""
        return [row for row in self.all_releases() if row.tenant == self.tenant]

    def all_releases(self) -> list[Release]:
        """Return every change of anybody's active adapter, the newest first."""
        names = ("number", "at", "adapter", "previous", "reason", "by", "cycle", "tenant")
        columns = "number, at, adapter, previous, reason, changed_by, cycle, tenant"
        with self.reading() as db:
            rows = db.execute(f"SELECT {columns} FROM releases ORDER BY number DESC").fetchall()
        return [Release.model_validate(dict(zip(names, row, strict=True))) for row in rows]

    def setting(self, name: str) -> str:
        """Return the setting ``name``; "" where it was never set."""
        with self.reading() as db:
            row = db.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return row[0] if row else ""

    def put_setting(self, name: str, value: str) -> None:
        """Keep ``value`` under ``name``."""
        with self.together() as db:
            db.execute(
                "INSERT INTO settings (name, value) VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (name, value),
            )

    @contextmanager
    def reading(self) -> Iterator[Statements]:
        """Let all reads of the block see one state."""
        db = getattr(self._mine, "db", None)
        if db is not None:
            yield db
            return
        with self._db.transaction("BEGIN") as db:
            yield db


def _next(table: str) -> str:
    """Return SQL for the number after the greatest one in ``table``."""
    return f"(SELECT coalesce(max(number), 0) + 1 FROM {table})"
