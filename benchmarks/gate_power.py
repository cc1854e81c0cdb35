"""Chances that the gate sees a gain of 3 or 5 points of call accuracy, by simulation.

    python -m benchmarks.gate_power

Of each request a model has a margin m, in nats: the expected answer has the log-probability ln(1 / (1 + exp(-m))), and
the call is exact where m > 0. A request's margin is normal over the requests, and differs from adapter to adapter by
normal noise. Both spreads are such that adapters of one recipe do as seven measured ones did: 21.7 of 60 requests exact
on average, with a standard deviation of 1.9 between adapters (docs/results.md).

A gain is spread (every margin rises by the same) or narrow (a few requests that were out of reach are learned, all
others are as before). The suite has 60 requests without a tool for 200 with one; both models do the same on them.
"""

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from evolver.evaluation.gate import level
from evolver.evaluation.soft_score import LEAST
from evolver.statistics import student_t_quantile

ACCURACY, BETWEEN = 21.7 / 60, 1.9**2 / 60
"""Of seven adapters of one recipe: the mean, and the variance between them per request."""
SPREAD = 4.0
"""Standard deviation of the margins over the requests, nats. From 2 to 8 the table changes by four points at most."""
WITHOUT_A_TOOL, SILENT_NOISE = 0.3, 0.1
RUNS = 4000
SIZES, GAINS, LOOKS = (60, 200, 400), (0.0, 0.03, 0.05), (1, 2)

Margins = NDArray[np.float64]


def noise(spread: float) -> tuple[float, float]:
    """Return the mean margin, and its standard deviation between adapters, at which they do as those measured."""
    requests = np.random.default_rng(1).standard_normal(20_000)
    low, high = 1e-3 * spread, 10 * spread
    middle, between = 0.0, 0.0
    for _ in range(40):
        between = (low + high) / 2
        middle = NormalDist().inv_cdf(ACCURACY) * math.hypot(spread, between)
        chance = _normal((middle + spread * requests) / between)
        low, high = (between, high) if float((chance * (1 - chance)).mean()) < BETWEEN else (low, between)
    return middle, between


def powers(n: int, gain: float, *, look: int = 1, spread: float = SPREAD) -> tuple[float, float, float]:
    """Return how often a gain is seen among ``n`` requests with a tool: a spread one and a narrow one by the gate's
    test in its ``look``, a spread one by a sign test of exact calls at 5 %."""
    draw = np.random.default_rng(round(1000 * gain) + n)
    middle, between = noise(spread)
    rise = NormalDist().inv_cdf(ACCURACY + gain) * math.hypot(spread, between) - middle
    request = middle + spread * draw.standard_normal((RUNS, n))

    def adapter(margins: Margins) -> Margins:
        return margins + between * draw.standard_normal((RUNS, n))

    old, risen = adapter(request), adapter(request + rise)
    learned = (request < 0) & (draw.random((RUNS, n)) < gain / (1 - ACCURACY))
    narrow = adapter(np.where(learned, -request, request))
    silent = SILENT_NOISE * draw.standard_normal((RUNS, round(WITHOUT_A_TOOL * n)))
    critical = student_t_quantile(level(0.05, look), n + silent.shape[1] - 1)
    seen = [float((_t(_soft(new) - _soft(old), silent) >= critical).mean()) for new in (risen, narrow)]
    return seen[0], seen[1], _sign_test_power(old > 0, risen > 0)


def table() -> str:
    """The powers as a table in Markdown, percent."""
    lines = [
        "| requests with a tool | gain | spread, first look | second look | narrow, first look | exact calls alone |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for n in SIZES:
        for gain in GAINS:
            (first, narrow, signs), (second, _, _) = (powers(n, gain, look=look) for look in LOOKS)
            cells = " | ".join(f"{value:.0%}".replace("%", " %") for value in (first, second, narrow, signs))
            lines.append(f"| {n} | {f'+{100 * gain:.0f} points' if gain else 'none'} | {cells} |")
    return "\n".join(lines)


def _soft(margins: Margins) -> Margins:
    return np.maximum(-np.logaddexp(0, -margins), LEAST)


def _t(gains: Margins, silent: Margins) -> Margins:
    every = np.concatenate([gains, silent], 1)
    return every.mean(1) / (every.std(1, ddof=1) / math.sqrt(every.shape[1]))


def _sign_test_power(old: NDArray[np.bool_], new: NDArray[np.bool_]) -> float:
    better, worse = (new & ~old).sum(1), (old & ~new).sum(1)
    most = int((better + worse).max())
    needed = [_fewest(changes) for changes in range(most + 1)]
    return float((better >= np.array(needed)[better + worse]).mean())


def _fewest(changes: int) -> int:
    """The fewest improvements among ``changes`` that are significant at 5 %; one more than all where none are."""
    tail, count = 0.0, changes + 1
    while count > 0 and (tail := tail + math.comb(changes, count - 1) / 2**changes) <= 0.05:
        count -= 1
    return count


def _normal(values: Margins) -> Margins:
    points = np.linspace(-9, 9, 4001)
    return np.interp(values, points, [NormalDist().cdf(point) for point in points])


if __name__ == "__main__":
    print(table())
