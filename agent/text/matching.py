"""Comparing texts: the normal form for duplicates, and which values a text states."""

import re
from difflib import SequenceMatcher
from typing import Any

_WORD = re.compile(r"[^\W_]+")
_NUMBER = re.compile(r"((?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)(\s?%| percent\b)?")

_FILLING = frozenset(
    {"a", "again", "an", "can", "could", "for", "hey", "is", "it", "me", "my", "now", "ok", "please", "s", "so", "tell"}
    | {"that", "the", "then", "was", "will", "would", "you"}
)
"""Words that make no other question."""
_SHORTEST_SLIP = 4
"""Letters; of shorter words another one is as near."""

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
    """Return the lower-case words only: two texts with the same normal form are duplicates."""
    return " ".join(_WORD.findall(text.lower()))


def same_question(one: str, other: str) -> bool:
    """Return whether ``other`` puts the question of ``one`` again: the same numbers, and the same words in the same
    order but for slips of the pen and words that ask for nothing. Another word is another question."""
    words, others = (normalised(text).split() for text in (one, other))
    if not words or not others or _has_another_word(words, others) or _has_another_word(others, words):
        return False
    if numbers(one) != numbers(other):
        return False
    for kind, a, b, c, d in SequenceMatcher(None, words, others).get_opcodes():
        left, right = words[a:b], others[c:d]
        filling = _FILLING.issuperset(left) and _FILLING.issuperset(right)
        slips = len(left) == len(right) and all(map(_slip, left, right))
        if kind != "equal" and not filling and not slips:
            return False
    return True


def _has_another_word(words: list[str], others: list[str]) -> bool:
    """Return whether one of ``words`` asks for something and is neither one of the ``others`` nor a slip of one: most
    pairs of questions differ so, and comparing word by word takes ten times as long."""
    known = set(others)
    return any(
        word not in known and word not in _FILLING and not any(_slip(word, one) for one in known) for word in words
    )


def _slip(word: str, other: str) -> bool:
    """Return whether one letter is wrong, missing or changed places with the next."""
    if min(len(word), len(other)) < _SHORTEST_SLIP or abs(len(word) - len(other)) > 1:
        return False
    shorter, longer = sorted((word, other), key=len)
    if len(shorter) < len(longer):
        return any(longer[:n] + longer[n + 1 :] == shorter for n in range(len(longer)))
    wrong = [n for n in range(len(word)) if word[n] != other[n]]
    swapped = len(wrong) == 2 and word[wrong[0] : wrong[1] + 1] == other[wrong[0] : wrong[1] + 1][::-1]
    return len(wrong) < 2 or (swapped and wrong[1] == wrong[0] + 1)


def states(text: str, value: Any) -> bool:
    """Return whether ``text`` states ``value``: numbers as digits, one word or percent, strings as written, lists
    element by element.

    A boolean counts as stated: no text says ``true`` (agent.text.flags).
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
    """Return the numbers that stand in ``text``; commas between digits are thousands."""
    return [meanings[0] for meanings in readings(text)]


def readings(text: str) -> list[tuple[float, ...]]:
    """Return the values of each number in ``text``: itself, and with a percent sign a hundredth of it too."""
    # Whole numbers exactly: as floats, long ones that differ are equal. Python reads at most 4,300 digits as an int.
    found = []
    for digits, percent in _NUMBER.findall(text):
        plain = digits.replace(",", "")
        number = float(plain) if "." in plain or len(plain) > 1000 else int(plain)
        found.append((number, round(number / 100, 12)) if percent else (number,))
    return found
