"""Number format of the built-in tools: short, without the noise of binary fractions."""

import math


def neat(value: float, digits: int = 10) -> float | int:
    """Return ``value`` with ``digits`` significant digits, an int where nothing is behind it. Raises ValueError."""
    if isinstance(value, int):
        return value
    if not math.isfinite(value):
        raise ValueError("the result is too large or not a number; use smaller values")
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def money(value: float) -> float:
    """Return ``value`` in units with two decimals."""
    if not math.isfinite(value) or abs(value) > 1e15:
        raise ValueError("the amount is too large; use smaller values")
    return round(value + 0.0, 2)
