"""Shares of a count, with the score interval of Wilson (1927)."""

import math
from statistics import NormalDist

from evolver.types import Rate

Z95 = NormalDist().inv_cdf(0.975)


def interval(hits: int, n: int, z: float) -> tuple[float, float]:
    """Where the true share of ``hits`` among ``n`` > 0 lies, ``z`` standard deviations to either side."""
    share, scale = hits / n, 1 + z**2 / n
    middle = (share + z**2 / (2 * n)) / scale
    half = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n * n)) / scale
    return max(0.0, middle - half), min(1.0, middle + half)


def rate(hits: int, n: int) -> Rate:
    """``hits`` of ``n`` with its 95 % interval; of nothing, everything is possible."""
    low, high = interval(hits, n, Z95) if n else (0.0, 1.0)
    return Rate(hits=hits, n=n, low=low, high=high)
