"""Compares how people fare after a promotion with how they fared before."""

from collections.abc import Sequence
from statistics import NormalDist, median

from agent.turn.messages import BASE, Interaction
from evolver.config import MonitorConfig
from evolver.statistics import mann_whitney_z, newcombe_lower_limit
from evolver.store.sessions import troubles, whole_turns
from toolkit.frozen import Frozen


class Regression(Frozen):
    """The adapter that does worse, and the figures that say so."""

    adapter: str
    reason: str


class Figure(Frozen):
    """Number of turns with a trouble, with the adapter that serves ``now`` and with the one ``before``."""

    name: str
    now: int
    before: int


class Comparison(Frozen):
    """Turns with ``current`` and with ``previous``: how many, in how many of them something was wrong, and how long
    they took, ms."""

    current: str
    previous: str
    figures: tuple[Figure, ...]
    now_ms: tuple[float, ...]
    before_ms: tuple[float, ...]

    @property
    def now(self) -> int:
        return len(self.now_ms)

    @property
    def before(self) -> int:
        return len(self.before_ms)

    @property
    def medians_ms(self) -> tuple[float | None, float | None]:
        """Return the median latencies now and before; None where there was no turn."""
        now, before = (median(values) if values else None for values in (self.now_ms, self.before_ms))
        return now, before


def compare(interactions: Sequence[Interaction], *, current: str, previous: str) -> Comparison:
    """Count the troubles in the turns of two adapters.

    They are turns that were not answered, with a failed call, with a repeated try after one, that were asked again,
    and that were called bad. ``interactions`` are in the order in which they happened; those of one turn count once.
    """
    turns = whole_turns(interactions)
    now = [i for i in turns if i.trajectory.adapter == current]
    before = [i for i in turns if i.trajectory.adapter == previous]
    return Comparison(
        current=current,
        previous=previous,
        figures=tuple(
            Figure(name=name, now=sum(map(is_so, now)), before=sum(map(is_so, before)))
            for name, is_so in troubles(turns).items()
        ),
        now_ms=tuple(i.trajectory.latency_ms for i in now),
        before_ms=tuple(i.trajectory.latency_ms for i in before),
    )


def watch(
    config: MonitorConfig, interactions: Sequence[Interaction], *, current: str, previous: str
) -> Regression | None:
    """Return a regression if one of the figures is significantly worse with ``current`` than with ``previous``.

    The figures are those of ``compare``, and how long the turns took. ``significance`` is shared among them. Needs
    ``minimum_interactions`` turns of both.
    """
    return None if current == BASE else regression_of(config, compare(interactions, current=current, previous=previous))


def regression_of(config: MonitorConfig, seen: Comparison) -> Regression | None:
    """Return the first figure that is significantly worse; None without one, or with too few turns."""
    if min(seen.now, seen.before) < config.minimum_interactions:
        return None
    z = NormalDist().inv_cdf(1 - config.significance / (len(seen.figures) + 1))
    for figure in seen.figures:
        if newcombe_lower_limit(figure.now, seen.now, figure.before, seen.before, z) > config.error_margin:
            reason = (
                f"turns {figure.name}: {figure.now} of {seen.now} with {seen.current}, "
                f"{figure.before} of {seen.before} with {seen.previous}"
            )
            return Regression(adapter=seen.current, reason=reason)
    return _slower(config, seen, z)


def _slower(config: MonitorConfig, seen: Comparison, z: float) -> Regression | None:
    """Return a regression when turns take more than ``latency_ratio`` times as long, by Mann and Whitney's test."""
    if mann_whitney_z([config.latency_ratio * value for value in seen.before_ms], seen.now_ms) <= z:
        return None
    reason = (
        f"a turn takes {median(seen.now_ms):.0f} ms with {seen.current}, "
        f"{median(seen.before_ms):.0f} ms with {seen.previous}"
    )
    return Regression(adapter=seen.current, reason=reason)
