"""Rows of the ledger."""

from typing import Any

from evolver.types import CycleStatus
from toolkit.frozen import Frozen

READS = "reads"
"""Key in a cycle's summary. Without it a cycle reads its tenant's interactions, or everybody's those of all."""

FINISHED = ("promoted", "rejected", "waiting")
"""Ends of a cycle whose interactions are not mined again."""


class CycleRow(Frozen):
    """One cycle. ``summary`` holds what the stages reported; ``tenant`` is whose it is, "" for everybody's."""

    number: int
    started_at: float
    ended_at: float | None
    status: CycleStatus
    stage: str
    reason: str
    last_interaction_id: str
    summary: dict[str, Any]
    tenant: str = ""

    @property
    def reads(self) -> str | None:
        """Return the tenant whose interactions and cycles it reads, "" for those of none; None: those of all."""
        return self.summary.get(READS, {}).get("tenant", self.tenant or None)


class AdapterRow(Frozen):
    """One adapter. ``parent`` is the adapter that it continues, or ``base``; ``tenant`` that of its cycle."""

    name: str
    cycle: int
    parent: str
    sha256: str
    dataset_sha256: str
    created_at: float
    state: str
    scores: dict[str, Any]
    pinned: bool = False
    tenant: str = ""


class Evaluation(Frozen):
    """One run of a suite; ``scores`` is its report without the single requests."""

    at: float
    model: str
    suite: str
    suite_sha256: str
    scores: dict[str, Any]
    tenant: str = ""


class Release(Frozen):
    """One change of the active adapter of ``tenant`` ("": everybody). ``by``: person, cycle, monitor or start;
    ``cycle``: the one that promoted, else 0."""

    number: int
    at: float
    adapter: str
    previous: str
    reason: str
    by: str
    cycle: int = 0
    tenant: str = ""
