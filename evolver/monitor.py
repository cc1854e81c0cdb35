"""After a promotion: do people fare worse with the new adapter than with what served before?"""

from collections.abc import Sequence

from agent.messages import BASE, Interaction
from evolver.config import MonitorConfig
from evolver.evaluate import rate
from evolver.types import Frozen


class Finding(Frozen):
    """The adapter that does worse, and the figures that say so."""

    adapter: str
    reason: str


def watch(config: MonitorConfig, interactions: Sequence[Interaction], *, current: str, previous: str) -> Finding | None:
    """A finding when ``current`` has troubled turns significantly more often than ``previous`` had; else None.

    Troubled: the turn failed, a call in it did, or somebody called it bad. Needs ``minimum_interactions`` turns of
    both. Worse: the 95 % interval of ``current`` lies above the rate of ``previous`` plus ``error_margin``.
    """
    if current == BASE:
        return None
    now = [_troubled(i) for i in interactions if i.trajectory.adapter == current]
    before = [_troubled(i) for i in interactions if i.trajectory.adapter == previous]
    if min(len(now), len(before)) < config.minimum_interactions:
        return None
    new, old = rate(sum(now), len(now)), rate(sum(before), len(before))
    if new.low <= old.value + config.error_margin:
        return None
    return Finding(
        adapter=current,
        reason=f"troubled turns: {new.hits} of {new.n} with {current}, {old.hits} of {old.n} with {previous}",
    )


def _troubled(interaction: Interaction) -> bool:
    turn = interaction.trajectory
    return (
        turn.stop_reason != "answered"
        or any(not result.ok for result in turn.results)
        or any(feedback.verdict == "bad" for feedback in interaction.feedback)
    )
