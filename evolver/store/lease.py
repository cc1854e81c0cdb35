"""The right to run a cycle: one process has it at a time, and keeps it by its heartbeat.

Every take-over raises the lease's token. A process that was stopped past its lease finds another token in the ledger,
and every transaction of its ledger, the pointer and the stage markers among them, is refused (docs/release.md). Time is
counted by the kernel since boot, asleep or not, so that setting the clock changes nothing.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.database import SqliteUtilsDatabase as Database
from agent.errors import StorageError
from evolver.errors import Busy, Fenced
from evolver.ledger import Ledger
from evolver.types import Frozen

_CYCLE = "cycle"
_BEATS = 4
"""Heartbeats per lease."""


class Holder(Frozen):
    """A process, told from a later one with its id. ``space`` is its PID namespace, ``boot`` the running kernel."""

    pid: int
    started: str
    space: str
    boot: str


def since_boot() -> float:
    """Seconds; goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@contextmanager
def held(ledger: Ledger, seconds: float, *, clock: Callable[[], float] = since_boot) -> Iterator[Callable[[], None]]:
    """Hold the lease while the block runs; yields a check that raises Fenced once it may be another's.

    Raises Busy when another process has it. Inside, every write of ``ledger`` is fenced.
    """
    token = _take(ledger, seconds, clock)
    beat = _Heartbeat(ledger, token, seconds, clock)
    ledger.fence = beat.check
    try:
        beat.start()
        yield beat.check_time
    finally:
        ledger.fence = lambda db: None
        beat.stop()
        _give_back(ledger, token)


def holder(ledger: Ledger, seconds: float, *, clock: Callable[[], float] = since_boot) -> int | None:
    """The process that runs a cycle now; None if none does."""
    with ledger.together(fenced=False) as db:
        row = _row(db)
    return row[1].pid if row is not None and _valid(row[1], row[2], seconds, clock()) else None


def _take(ledger: Ledger, seconds: float, clock: Callable[[], float]) -> int:
    with ledger.together(fenced=False) as db:
        now = clock()
        row = _row(db)
        if row is not None and _valid(row[1], row[2], seconds, now):
            raise Busy(f"process {row[1].pid} runs a cycle; wait for its end, or stop it")
        token = 1 if row is None else row[0] + 1
        mine = _this_process().model_dump_json()
        db.execute("INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?)", (_CYCLE, token, mine, now))
    return token


def _give_back(ledger: Ledger, token: int) -> None:
    with ledger.together(fenced=False) as db:
        db.execute("UPDATE lease SET holder = '' WHERE name = ? AND token = ?", (_CYCLE, token))


def _row(db: Database) -> tuple[int, Holder, float] | None:
    """Token, holder, when it was renewed. A lease that was given back still has its token."""
    row = db.execute("SELECT token, holder, renewed_at FROM lease WHERE name = ?", (_CYCLE,)).fetchone()
    if row is None:
        return None
    nobody = Holder(pid=0, started="", space="", boot="")
    return row[0], Holder.model_validate_json(row[1]) if row[1] else nobody, row[2]


def _valid(held_by: Holder, renewed_at: float, seconds: float, now: float) -> bool:
    """Whether a lease still binds others. That of a process that is gone does not."""
    here = _this_process()
    if held_by.pid == 0 or held_by.boot != here.boot or now - renewed_at > seconds:
        return False
    return held_by.space != here.space or _started(held_by.pid) == held_by.started


def _this_process() -> Holder:
    pid = os.getpid()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return Holder(pid=pid, started=_started(pid), space=str(Path("/proc/self/ns/pid").readlink()), boot=boot)


def _started(pid: int) -> str:
    """When the process began, in clock ticks since boot; "" if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]


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

    def check(self, db: Database) -> None:
        """Inside a transaction: raise Fenced if another process has taken over."""
        row = _row(db)
        if row is None or row[0] != self._token:
            raise Fenced("another process has taken over this cycle; this one stops")

    def check_time(self) -> None:
        """Outside of one: raise Fenced if another may have taken over. Costs nothing while the heart beats."""
        if self._clock() - self._renewed > self._seconds:
            self._renew_if_mine()

    def _renew_if_mine(self) -> None:
        now = self._clock()
        with self._ledger.together() as db:
            db.execute("UPDATE lease SET renewed_at = ? WHERE name = ? AND token = ?", (now, _CYCLE, self._token))
        self._renewed = now

    def _run(self) -> None:
        while not self._ended.wait(self._seconds / _BEATS):
            try:
                self._renew_if_mine()
            except Fenced:
                return
            except StorageError:  # a full disk may have room again before the lease is over
                continue
