"""Statistics of a list of numbers."""

import statistics

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
