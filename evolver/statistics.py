"""Intervals and tests behind the gate, the canary, the monitor and every reported rate."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from evolver.scores import Mean, Rate
from toolkit.intervals import Z95, wilson_interval

_CLOSE = 1e-15
_TINY = 1e-300
_TERMS = 10_000


def rate(hits: int, n: int) -> Rate:
    """Return ``hits`` of ``n`` with the 95 % Wilson interval, which is (0, 1) where ``n`` is 0."""
    low, high = wilson_interval(hits, n, Z95) if n else (0.0, 1.0)
    return Rate(hits=hits, n=n, low=low, high=high)


def mean_half_width(values: Sequence[float]) -> float:
    """Return half the width of the normal 95 % interval of the mean of ``values``; 0 for fewer than two."""
    return Z95 * statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def newcombe_lower_limit(new: int, n_new: int, old: int, n_old: int, z: float) -> float:
    """Return the lower limit of ``new / n_new - old / n_old`` (Newcombe 1998, method 10, from Wilson intervals)."""
    p_new, p_old = new / n_new, old / n_old
    low, high = wilson_interval(new, n_new, z)[0], wilson_interval(old, n_old, z)[1]
    return p_new - p_old - math.hypot(p_new - low, high - p_old)


def sign_test(better: int, worse: int) -> float:
    """Return the one-sided exact p of at least ``better`` improvements among ``better + worse`` changes.

    On paired outcomes this is McNemar's exact test.
    """
    n = better + worse
    return sum(math.comb(n, k) for k in range(better, n + 1)) / 2**n


def mann_whitney_z(low: Sequence[float], high: Sequence[float]) -> float:
    """Return by how many standard deviations ``high`` ranks above ``low`` (Mann and Whitney 1947).

    Equal values share their ranks, and the deviation is corrected for ties. 0 where all values are equal.
    """
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


def mean(values: Sequence[float]) -> Mean | None:
    """Return the mean of ``values`` with the 95 % interval of Student's t; None for fewer than two."""
    if len(values) < 2:
        return None
    middle = statistics.fmean(values)
    half = student_t_quantile(0.025, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return Mean(value=middle, n=len(values), low=middle - half, high=middle + half)


def paired_t_test(differences: Sequence[float]) -> float:
    """Return the one-sided p of Student's t test that the mean of ``differences`` is above 0.

    1 for fewer than two; where all are equal, 0 if they are above 0, else 1.
    """
    if len(differences) < 2:
        return 1.0
    middle, error = statistics.fmean(differences), statistics.stdev(differences) / math.sqrt(len(differences))
    if error == 0:
        return 0.0 if middle > 0 else 1.0
    return student_t_tail(middle / error, len(differences) - 1)


def student_t_tail(t: float, df: int) -> float:
    """Return the chance that Student's t with ``df`` degrees of freedom is at least ``t``."""
    if abs(t) < 1:  # else 1 - x would lose the digits of a small t
        beyond = 1 - _incomplete_beta(t * t / (df + t * t), 0.5, df / 2)
    else:
        beyond = _incomplete_beta(df / (df + t * t), df / 2, 0.5)
    return beyond / 2 if t >= 0 else 1 - beyond / 2


def student_t_quantile(tail: float, df: int) -> float:
    """Return the value above which Student's t has the chance ``tail``, at most one half, by bisection."""
    low, high = 0.0, 1.0
    while student_t_tail(high, df) > tail:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if student_t_tail(middle, df) > tail else (low, middle)
    return high


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b) (DLMF 8.17.22, by Lentz's method)."""
    if not 0 < x < 1:
        return max(0.0, min(1.0, x))
    if x > (a + 1) / (a + b + 2):  # there the fraction is slow
        return 1 - _incomplete_beta(1 - x, b, a)
    front = a * math.log(x) + b * math.log1p(-x) - math.log(a)
    front += math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or _TINY)
    value = d
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d, c = 1 / (1 + term * d or _TINY), 1 + term / c or _TINY
            value *= c * d
        if abs(c * d - 1) < _CLOSE:
            break
    return math.exp(front) * value


@dataclass(frozen=True, slots=True)
class SequentialTest:
    """Wald's sequential probability ratio test of a share of one half against the larger ``share``.

    "Sequential Analysis" (1947), chapter 6. ``alpha`` bounds the chance of accepting ``share`` where one half is true,
    ``beta`` that of the opposite error.
    """

    share: float
    alpha: float
    beta: float

    @property
    def bounds(self) -> tuple[float, float]:
        """The evidence at or below which one half is accepted, and at or above which ``share`` is."""
        return math.log(self.beta / (1 - self.alpha)), math.log((1 - self.beta) / self.alpha)

    def evidence(self, hit: bool) -> float:
        """Return the log-likelihood ratio that one observation adds in favour of ``share``."""
        return math.log(2 * (self.share if hit else 1 - self.share))
