"""Comparing texts: the normal form for duplicates, and which values a text states."""

import re
from difflib import SequenceMatcher, get_close_matches
from typing import Any

_WORD = re.compile(r"[^\W_]+")
_NUMBER = re.compile(r"((?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)(\s?%| percent\b)?")

_SAME = 0.75
"""Two questions may be the same when so much of them is the same text."""
_SLIP = 0.75
"""A word is another one misspelt when so much of the two is the same."""

_ONES = (
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
SMALL_NUMBERS: dict[float, str] = {
    **dict(enumerate([*_ONES.split(), "nineteen"], 2)),
    **{10 * n: word for n, word in enumerate(_TENS.split(), 2)},
}
"""Numbers that people write as one word; not one, which also means a thing or a person."""


def normalised(text: str) -> str:
    """Lower-case words only: two texts with the same normal form are duplicates."""
    return " ".join(_WORD.findall(text.lower()))


def same_question(one: str, other: str) -> bool:
    """Whether ``other`` puts the question of ``one`` again: the same numbers, and the same words but for slips of the
    pen and some more or fewer of them. Another value makes it another question."""
    texts = normalised(one), normalised(other)
    if not all(texts) or numbers(one) != numbers(other):
        return False
    if SequenceMatcher(None, *texts, autojunk=False).ratio() < _SAME:
        return False
    words, others = ({word for word in text.split() if len(word) > 1} for text in texts)
    fewer, more = sorted((words - others, others - words), key=len)
    return all(get_close_matches(word, more, n=1, cutoff=_SLIP) for word in fewer)


def states(text: str, value: Any) -> bool:
    """Whether ``text`` states ``value``: numbers as digits, one word or percent, strings as written, lists element by
    element.

    A boolean counts as stated: no text says ``true`` (evolver.flags).
    """
    if isinstance(value, bool) or value is None:
        return True
    if isinstance(value, int | float):
        word = SMALL_NUMBERS.get(value)
        stated = any(value in meanings for meanings in readings(text))
        return stated or (word is not None and word in _WORD.findall(text))
    if isinstance(value, str):
        return bool(value.strip()) and re.search(rf"(?<!\w){re.escape(value.strip())}(?!\w)", text, re.I) is not None
    if isinstance(value, list):
        return bool(value) and all(states(text, item) for item in value)
    return all(states(text, item) for item in value.values())


def numbers(text: str) -> list[float]:
    """The numbers that stand in ``text``; commas between digits are thousands."""
    return [meanings[0] for meanings in readings(text)]


def readings(text: str) -> list[tuple[float, ...]]:
    """What each number in ``text`` may stand for: itself, and with a percent sign a hundredth of it too."""
    # Whole numbers exactly: as floats, long ones that differ are equal. Python reads at most 4,300 digits as an int.
    found = []
    for digits, percent in _NUMBER.findall(text):
        plain = digits.replace(",", "")
        number = float(plain) if "." in plain or len(plain) > 1000 else int(plain)
        found.append((number, round(number / 100, 12)) if percent else (number,))
    return found
