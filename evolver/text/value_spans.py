"""Value spans: the places of values in a text, and the text with other values there. Pure."""

import json
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from pydantic import JsonValue

from agent.text.matching import SMALL_NUMBERS, numbers
from evolver.types import Call, Trace

Place = tuple[int, int, str]
"""Begin and end in the text, and the name of the value that stands there."""

_SPELLED, _GROUPED, _AS_PERCENT = 0.3, 0.3, 0.7
"""Probability that a small number is written as a word, a large one with commas, and a share in percent."""
_PERCENT = re.compile(r"%| percent\b")
_RESULT = "<result>"
"""Stands beside the names of parameters, and is none."""


def is_spoken(value: JsonValue) -> bool:
    """Return whether a text can state ``value``: texts, numbers and lists; no booleans, no objects, nothing empty."""
    return isinstance(value, str | int | float | list) and not isinstance(value, bool) and value not in ("", [])


def places(text: str, values: Mapping[str, JsonValue]) -> list[Place] | None:
    """Return the spans of the values in ``text``, in order; None when one stands there twice, or two in one place."""
    found_at = []
    for name, value in values.items():
        found = [match.span() for match in re.finditer(_pattern(value), text, re.IGNORECASE)]
        if len(found) > 1:
            return None
        found_at += [(*span, name) for span in found]
    found_at.sort()
    return found_at if all(before[1] <= after[0] for before, after in pairwise(found_at)) else None


def replaced(text: str, found_at: Sequence[Place], texts: Mapping[str, str]) -> str:
    """Return ``text`` with ``texts`` in the places."""
    pieces, end = [], 0
    for start, stop, name in found_at:
        pieces += [text[end:start], texts[name]]
        end = stop
    return "".join([*pieces, text[end:]])


def answer_with(source: Trace, call: Call, result: JsonValue) -> str:
    """Return the answer of ``source``, a trace of one call, for another call and its result; "" where the old values
    cannot be told apart in it."""
    old = {**source.calls[0].arguments, _RESULT: source.results[0]}
    new = {**call.arguments, _RESULT: result}
    if isinstance(result, bool) or not is_spoken(result):
        old, new = ({k: v for k, v in values.items() if k != _RESULT} for values in (old, new))
        if result != source.results[0]:
            return ""
    old = {name: value for name, value in old.items() if is_spoken(value)}
    found_at = places(source.answer, old)
    if found_at is None or (_RESULT in old and all(name != _RESULT for _, _, name in found_at)):
        return ""
    told = {name for _, _, name in found_at}
    stated = {number for name in told for number in numbers(json.dumps(old[name]))}
    if any(number not in stated for number in numbers(source.answer)):
        return ""
    return replaced(source.answer, found_at, {name: said(new[name]) for name in told})


def said(value: JsonValue, rng: random.Random | None = None, *, like: str = "") -> str:
    """Return ``value`` as a person may write it, small numbers as words at times, large ones with commas; without
    ``rng`` plainly. A number that stands where ``like`` says percent mostly does so too."""
    percent = _PERCENT.search(like)
    if percent and isinstance(value, float) and (rng is None or rng.random() < _AS_PERCENT):
        return f"{in_percent(value)}{percent.group()}"
    if isinstance(value, list):
        words = [_plain(item) for item in value]
        last = rng.choice((" and ", ", ")) if rng else ", "
        return last.join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
    if rng and isinstance(value, int) and not isinstance(value, bool):
        if value in SMALL_NUMBERS and rng.random() < _SPELLED:
            return SMALL_NUMBERS[value]
        if value >= 1000 and rng.random() < _GROUPED:
            return f"{value:,}"
    return _plain(value)


def plainly(text: str, values: Iterable[JsonValue]) -> str:
    """Return ``text`` with those of the values that it says in percent as fractions of one."""
    for value in values:
        if isinstance(value, float) and 0 < value < 1:
            spoken = rf"(?<![\w.]){re.escape(in_percent(value))}(?:{_PERCENT.pattern})"
            text = re.sub(spoken, _plain(value), text)
    return text


def in_percent(value: float) -> str:
    """Return the digits of a share of one as people say it: 0.05 is so many percent."""
    return format(round(value * 100, 10), "g")


def _pattern(value: JsonValue) -> str:
    if isinstance(value, list):
        return r"(?:, and |, | and | )".join(_pattern(item) for item in value)
    digits = rf"{re.escape(_plain(value))}(?![\w]|\.\d)"
    if isinstance(value, float) and 0 < value < 1:
        digits = rf"(?:{digits}|{re.escape(in_percent(value))}(?:{_PERCENT.pattern}))"
    return rf"(?<![\w.]){digits}"


def _plain(value: JsonValue) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
