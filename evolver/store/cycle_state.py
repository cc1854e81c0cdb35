"""States of cycles: those of the ledger, where one whose process is gone is told from one that runs."""

from typing import Literal, Protocol

from evolver.store.lease import Holder
from evolver.types import CycleStatus

CUT_OFF = "cut_off"
"""State of an open cycle on which no process works."""

CycleState = CycleStatus | Literal["cut_off"]


class Cycle(Protocol):
    """A cycle, with its status in the ledger and its tenant ("": everybody's)."""

    @property
    def status(self) -> CycleStatus: ...
    @property
    def tenant(self) -> str: ...


def worker_of(cycle: Cycle, holder: Holder | None) -> Holder | None:
    """Return the process that runs ``cycle``; None where none does. ``holder`` has the lease (``lease.holder``).

    A tenant has at most one open cycle, so the tenant names the cycle.
    """
    if cycle.status != "running" or holder is None or not holder.runs_cycle:
        return None
    return holder if holder.tenant == cycle.tenant else None


def state_of(cycle: Cycle, holder: Holder | None) -> CycleState:
    """Return the state of ``cycle``: ``cut_off`` where it is open and no process runs it, else its status.
    ``holder`` has the lease (``lease.holder``)."""
    if cycle.status == "running" and worker_of(cycle, holder) is None:
        return CUT_OFF
    return cycle.status
