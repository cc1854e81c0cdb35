"""The right to run a cycle: one process has it at a time, and keeps it by its heartbeat.

Every take-over raises the lease's token. A process that was stopped past its lease finds another token in the ledger,
and every transaction of its ledger, the pointer and the stage markers among them, is refused (docs/operations.md).
Among processes of one machine time is counted by its kernel since boot, asleep or not, so that setting the clock
changes nothing. Kernels of two machines have no such time in common: there the time counts that the database gives.
"""

import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.storage.process_start import start_time
from agent.storage.statements import Statements
from evolver.errors import Busy, Fenced
from evolver.store.ledger import Ledger
from toolkit.errors import UserError
from toolkit.frozen import Frozen

_CYCLE = "cycle"
_BEATS = 4
"""Heartbeats per lease."""
_DATABASE_TIME = "unixepoch('now', 'subsec')"


class Holder(Frozen):
    """A process, told from a later one with its id. ``space`` is its PID namespace, ``boot`` the running kernel,
    ``host`` the name of its machine, "" where an earlier version wrote it. ``tenant`` is that of the cycle which it
    runs ("": everybody's); without ``runs_cycle`` it only keeps others from running one."""

    pid: int
    started: str
    space: str
    boot: str
    host: str = ""
    tenant: str = ""
    runs_cycle: bool = True

    def __str__(self) -> str:
        """The process, with its machine where that is another one."""
        return f"process {self.pid}" + (f" on {self.host}" if self.host not in ("", platform.node()) else "")

    @property
    def doing(self) -> str:
        """Words for its work with the lease, which follow the process."""
        return "runs a cycle" if self.runs_cycle else "deletes or copies data"


def since_boot() -> float:
    """Return the seconds since boot; the clock goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@contextmanager
def held(
    ledger: Ledger, seconds: float, *, runs_cycle: bool = True, clock: Callable[[], float] = since_boot
) -> Iterator[Callable[[], None]]:
    """Hold the lease while the block runs; yields a check that raises Fenced once it may be another's.

    ``runs_cycle``: False where the block must only have no cycle beside it. Raises Busy when another process has the
    lease. Inside, every write of ``ledger`` is fenced.
    """
    holder = _this_process().model_copy(update={"tenant": ledger.tenant, "runs_cycle": runs_cycle})
    token = _take(ledger, seconds, clock, holder)
    beat = _Heartbeat(ledger, token, seconds, clock)
    ledger.fence = beat.check
    try:
        beat.start()
        yield beat.check_time
    finally:
        ledger.fence = lambda db: None
        beat.stop()
        _give_back(ledger, token)


def holder(ledger: Ledger, seconds: float, *, clock: Callable[[], float] = since_boot) -> Holder | None:
    """Return the process that has the lease now; None if none has."""
    with ledger.reading() as db:
        row = _row(db)
    return row.holder if row is not None and row.is_valid(seconds, clock()) else None


def _take(ledger: Ledger, seconds: float, clock: Callable[[], float], holder: Holder) -> int:
    with ledger.together(fenced=False) as db:
        now = clock()
        row = _row(db)
        if row is not None and row.is_valid(seconds, now):
            raise Busy(f"{row.holder} {row.holder.doing}; wait for its end, or stop it")
        token = 1 if row is None else row.token + 1
        mine = holder.model_dump_json(exclude_defaults=True)
        names = ("token", "holder", "renewed_at", "seen_at")
        db.execute(
            f"INSERT INTO lease (name, {', '.join(names)}) VALUES (?, ?, ?, ?, {_DATABASE_TIME}) "
            f"ON CONFLICT (name) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in names)}",
            (_CYCLE, token, mine, now),
        )
    return token


def _give_back(ledger: Ledger, token: int) -> None:
    with ledger.together(fenced=False) as db:
        db.execute("UPDATE lease SET holder = '' WHERE name = ? AND token = ?", (_CYCLE, token))


class _Row(Frozen):
    """The lease. ``renewed_at``: its holder's seconds since boot; ``age``: seconds since then, by the database."""

    token: int
    holder: Holder
    renewed_at: float
    age: float

    def is_valid(self, seconds: float, now: float) -> bool:
        """Return whether it still binds others. That of a process of this machine that is gone does not."""
        here = _this_process()
        if self.holder.pid == 0:
            return False
        if self.holder.boot != here.boot:  # another machine, or this one before it was started again
            return abs(self.age) <= seconds
        if now - self.renewed_at > seconds:
            return False
        return self.holder.space != here.space or start_time(self.holder.pid) == self.holder.started


def _row(db: Statements) -> _Row | None:
    """Return the lease as it stands. One that was given back still has its token."""
    query = f"SELECT token, holder, renewed_at, {_DATABASE_TIME} - seen_at FROM lease WHERE name = ?"
    row = db.execute(query, (_CYCLE,)).fetchone()
    if row is None:
        return None
    nobody = Holder(pid=0, started="", space="", boot="")
    held_by = Holder.model_validate_json(row[1]) if row[1] else nobody
    return _Row(token=row[0], holder=held_by, renewed_at=row[2], age=row[3])


def _this_process() -> Holder:
    pid = os.getpid()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    space = str(Path("/proc/self/ns/pid").readlink())
    return Holder(pid=pid, started=start_time(pid) or "", space=space, boot=boot, host=platform.node())


class _Heartbeat:
    """Renews the lease ``token`` until it is stopped, or the lease is lost."""

    def __init__(self, ledger: Ledger, token: int, seconds: float, clock: Callable[[], float]) -> None:
        self._ledger, self._token, self._seconds, self._clock = ledger, token, seconds, clock
        self._renewed = clock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()

    def check(self, db: Statements) -> None:
        """Inside a transaction: raise Fenced if another process has taken over."""
        row = _row(db)
        if row is None or row.token != self._token:
            raise Fenced("another process has taken over this cycle; this one stops")

    def check_time(self) -> None:
        """Outside of one: raise Fenced if another may have taken over. Costs nothing while the heart beats."""
        if self._clock() - self._renewed > self._seconds:
            self._renew_if_mine()

    def _renew_if_mine(self) -> None:
        now = self._clock()
        with self._ledger.together() as db:
            db.execute(
                f"UPDATE lease SET renewed_at = ?, seen_at = {_DATABASE_TIME} WHERE name = ? AND token = ?",
                (now, _CYCLE, self._token),
            )
        self._renewed = now

    def _run(self) -> None:
        while not self._ended.wait(self._seconds / _BEATS):
            try:
                self._renew_if_mine()
            except Fenced:
                return
            except UserError:  # a full disk, or a server in recovery, may be well again before the lease is over
                continue
