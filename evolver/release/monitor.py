"""After a promotion: do people fare worse with the new adapter than with what served before?"""

import math
from collections.abc import Sequence
from statistics import NormalDist, median

from agent.messages import BASE, Interaction
from evolver.config import MonitorConfig
from evolver.turns import troubles, whole_turns
from evolver.types import Frozen
from evolver.wilson import interval


class Finding(Frozen):
    """The adapter that does worse, and the figures that say so."""

    adapter: str
    reason: str


def watch(config: MonitorConfig, interactions: Sequence[Interaction], *, current: str, previous: str) -> Finding | None:
    """A finding when one of the figures is significantly worse with ``current`` than it was with ``previous``.

    The figures: turns that were not answered, turns with a failed call, with a repeated try after one, turns that were
    asked again, turns called bad; and how long they took. ``significance`` is shared among them. Needs
    ``minimum_interactions`` turns of both. ``interactions`` are in the order in which they happened;
    those of one turn count once.
    """
    if current == BASE:
        return None
    turns = whole_turns(interactions)
    now = [i for i in turns if i.trajectory.adapter == current]
    before = [i for i in turns if i.trajectory.adapter == previous]
    if min(len(now), len(before)) < config.minimum_interactions:
        return None
    figures = troubles(turns)
    z = NormalDist().inv_cdf(1 - config.significance / (len(figures) + 1))
    for name, is_so in figures.items():
        new, old = sum(map(is_so, now)), sum(map(is_so, before))
        if _least_difference(new, len(now), old, len(before), z) > config.error_margin:
            reason = f"turns {name}: {new} of {len(now)} with {current}, {old} of {len(before)} with {previous}"
            return Finding(adapter=current, reason=reason)
    return _slower(config, now, before, current, previous, z)


def _least_difference(new: int, n_new: int, old: int, n_old: int, z: float) -> float:
    """The lower limit of the difference of two shares (Newcombe 1998, method 10, from Wilson's intervals)."""
    p_new, p_old = new / n_new, old / n_old
    low, high = interval(new, n_new, z)[0], interval(old, n_old, z)[1]
    return p_new - p_old - math.hypot(p_new - low, high - p_old)


def _slower(
    config: MonitorConfig, now: list[Interaction], before: list[Interaction], current: str, previous: str, z: float
) -> Finding | None:
    """Whether turns take longer than ``latency_ratio`` times what they took (Mann and Whitney's test, 1947)."""
    new = [i.trajectory.latency_ms for i in now]
    old = [i.trajectory.latency_ms for i in before]
    if _mann_whitney([config.latency_ratio * value for value in old], new) <= z:
        return None
    reason = f"a turn takes {median(new):.0f} ms with {current}, {median(old):.0f} ms with {previous}"
    return Finding(adapter=current, reason=reason)


def _mann_whitney(low: Sequence[float], high: Sequence[float]) -> float:
    """By how many standard deviations ``high`` is above ``low``; equal values share their ranks."""
    pooled = sorted([(value, 0) for value in low] + [(value, 1) for value in high])
    total, ties, position = 0.0, 0.0, 0
    while position < len(pooled):
        end = position
        while end < len(pooled) and pooled[end][0] == pooled[position][0]:
            end += 1
        equal = end - position
        total += (position + end + 1) / 2 * sum(group for _, group in pooled[position:end])
        ties += equal**3 - equal
        position = end
    a, b = len(low), len(high)
    n = a + b
    deviation = math.sqrt(a * b / 12 * ((n + 1) - ties / (n * (n - 1))))
    return (total - b * (b + 1) / 2 - a * b / 2) / deviation if deviation else 0.0
