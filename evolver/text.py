"""Comparing texts: the normal form for duplicates, and which values a text states."""

import re
from typing import Any

_WORD = re.compile(r"[^\W_]+")
_NUMBER = re.compile(r"(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")


def normalised(text: str) -> str:
    """Lower-case words only: two texts with the same normal form are duplicates."""
    return " ".join(_WORD.findall(text.lower()))


def states(text: str, value: Any) -> bool:
    """Whether ``text`` states ``value`` literally: numbers as digits, strings as written, lists element by element.

    A boolean counts as stated: no text says ``true``.
    """
    if isinstance(value, bool) or value is None:
        return True
    if isinstance(value, int | float):
        return any(number == value for number in numbers(text))
    if isinstance(value, str):
        return bool(value.strip()) and re.search(rf"(?<!\w){re.escape(value.strip())}(?!\w)", text, re.I) is not None
    if isinstance(value, list):
        return bool(value) and all(states(text, item) for item in value)
    return all(states(text, item) for item in value.values())


def numbers(text: str) -> list[float]:
    """The numbers that stand in ``text``; commas between digits are thousands."""
    found = [digits.replace(",", "") for digits in _NUMBER.findall(text)]
    # Whole numbers exactly: as floats, long ones that differ are equal. Python reads at most 4,300 digits as an int.
    return [float(digits) if "." in digits or len(digits) > 1000 else int(digits) for digits in found]
