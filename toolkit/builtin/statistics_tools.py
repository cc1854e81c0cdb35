"""Statistics of a list of numbers."""

import statistics
from typing import Literal

from toolkit.builtin.ranges import fraction, not_negative
from toolkit.builtin.rounding import neat
from toolkit.declare import tool


def _some(numbers: list[float], least: int = 1) -> list[float]:
    if len(numbers) < least:
        raise ValueError(f"numbers must hold at least {least} value{'s' if least > 1 else ''}; add some")
    return numbers


@tool(effect="pure")
def sum_numbers(numbers: list[float]) -> float:
    """Add up a list of numbers.

    Args:
        numbers: The numbers.
    """
    return neat(sum(_some(numbers)))


@tool(effect="pure")
def average(numbers: list[float]) -> float:
    """Find the average (mean) of a list of numbers.

    Args:
        numbers: The numbers.
    """
    return neat(statistics.fmean(_some(numbers)))


@tool(effect="pure")
def median(numbers: list[float]) -> float:
    """Find the median (middle value) of a list of numbers.

    Args:
        numbers: The numbers.
    """
    return neat(statistics.median(_some(numbers)))


@tool(effect="pure")
def standard_deviation(numbers: list[float]) -> float:
    """Find the sample standard deviation of a list of numbers.

    Args:
        numbers: The numbers, two or more.
    """
    return neat(statistics.stdev(_some(numbers, 2)))


@tool(effect="pure")
def largest_number(numbers: list[float]) -> float:
    """Find the largest (maximum) of a list of numbers.

    Args:
        numbers: The numbers.
    """
    return neat(max(_some(numbers)))


@tool(effect="pure")
def weighted_average(values: list[float], weights: list[float]) -> float:
    """Find the weighted average of some values.

    Args:
        values: The values.
        weights: The weight of each value, in the same order.
    """
    if len(_some(values)) != len(weights):
        raise ValueError(f"there are {len(values)} values and {len(weights)} weights; give one weight for each value")
    if min(weights) < 0 or sum(weights) == 0:
        raise ValueError("weights must not be negative, and not all of them 0")
    return neat(statistics.fmean(values, weights))


@tool(effect="pure")
def measure_spread(
    numbers: list[float], measure: Literal["range", "variance", "deviation"] = "range", whole_population: bool = False
) -> float:
    """Tell how widely a list of numbers is spread.

    Args:
        numbers: The numbers, two or more.
        measure: range, variance or deviation.
        whole_population: Whether the numbers are the whole population and no sample of it.
    """
    if measure == "range":
        return neat(max(_some(numbers, 2)) - min(numbers))
    variance = (statistics.pvariance if whole_population else statistics.variance)(_some(numbers, 2))
    return neat(variance if measure == "variance" else variance**0.5)


@tool(effect="pure")
def chance_at_least_once(probability: float, tries: int) -> float:
    """Find how likely something is to happen at least once in several tries.

    Args:
        probability: How likely it is in one try, from 0 to 1.
        tries: How many tries.
    """
    fraction(probability=probability)
    if tries < 1:
        raise ValueError("tries must be 1 or more")
    return neat(1 - (1 - probability) ** tries)


@tool(effect="pure")
def expected_failures(items: int, failure_rate: float) -> float:
    """Find how many of some parts or products are likely to fail.

    Args:
        items: How many there are.
        failure_rate: The share that fails.
    """
    not_negative(items=items)
    fraction(failure_rate=failure_rate)
    return neat(items * failure_rate)
