"""Intervals of measured shares."""

import math
import statistics

Z95 = statistics.NormalDist().inv_cdf(0.975)
"""Standard deviations to either side of a 95 % interval."""


def wilson_interval(hits: int, n: int, z: float) -> tuple[float, float]:
    """Return the score interval (Wilson 1927) of the share ``hits / n``, ``z`` standard deviations to either side.

    ``n`` must be positive.
    """
    share, scale = hits / n, 1 + z**2 / n
    middle = (share + z**2 / (2 * n)) / scale
    half = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n * n)) / scale
    return max(0.0, middle - half), min(1.0, middle + half)
