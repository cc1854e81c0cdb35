"""Patterns for requests that state every value of a call, and for answers that tell its result: the model says the rest
in its own words.

A small model that is asked to mention six numbers forgets four; under this pattern it cannot. What the pattern forces
against the model's will shows as a low likelihood, by which ``evolver.verify`` chooses.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import JsonValue

from evolver.flags import flag_pattern
from evolver.places import in_percent

# Repetitions are unbounded: counted ones make the grammar's masks a hundred times slower (xgrammar 0.2.8).
_WORD = "[A-Za-z',&-]+"
_BEFORE = f"( {_WORD})* [\"'$]?"
_BETWEEN = f"[\"',]? ({_WORD} )*[\"'$]?"
_AFTER = f"[\"']?( {_WORD})*[.?!]"
_SEPARATOR = "(, | and |, and )"
_OPENERS = (
    "What", "What's", "Which", "How", "When", "Who", "Is", "Are", "Does", "Can", "Could", "Would", "Please", "Tell",
    "Give", "Show", "Find", "Help", "I need", "I want", "I'd like", "I have",
)  # fmt: skip
"""How people begin what they want of an assistant; left free, a small model states facts instead."""
_SHARES = frozenset(("rate", "share", "fraction", "probability", "chance", "ratio", "odds"))
_SPECIAL = frozenset("\\.^$*+?()[]{}|/-")


def stating(arguments: Mapping[str, JsonValue], schema: Mapping[str, Any], verb: str = "") -> str | None:
    """A regular expression for one request with every value; None where there is nothing to state. ``schema`` is the
    tool's, of its parameters.

    It begins as requests do: with a question, a wish, or ``verb``, what the tool does. The values stand in the call's
    order, backwards, or begun at the second. Lists are stated element by element, a flag that is set by its name, a
    share of one in percent, and nothing else in percent but what its parameter says is; objects cannot be stated and
    are left to the sentence.
    """
    fields = schema.get("properties", {})
    units = [unit for name, value in arguments.items() if (unit := _asked(name, value, fields.get(name, {})))]
    if not units:
        return None
    orders = dict.fromkeys(_BETWEEN.join(order) for order in (units, units[::-1], units[1:] + units[:1]))
    openers = "|".join(dict.fromkeys(filter(None, (*_OPENERS, verb if verb.isalpha() else ""))))
    return f" ({openers}){_BEFORE}(" + "|".join(orders) + ")" + _AFTER


def telling(result: JsonValue, values: Iterable[JsonValue] = ()) -> str | None:
    """A pattern for one sentence that tells ``result``, and beside it at most the call's ``values``; None for
    what cannot be told.

    A truth value is told by yes or no.
    """
    words = "|".join([_WORD, *(f"[\"']?{unit}[\"'%]?,?" for unit in dict.fromkeys(map(_unit, values)) if unit)])
    if isinstance(result, bool):
        return f" {'Yes' if result else 'No'},?( ({words}))+\\."
    unit = _unit(result)
    return f"( ({words}))* [\"']?{unit}[\"'%]?( ({words}))*\\." if unit else None


def _asked(name: str, value: JsonValue, field: Mapping[str, Any]) -> str:
    if value is True:
        return flag_pattern(name)
    unit = _unit(value)
    if not unit or isinstance(value, bool) or not isinstance(value, int | float):
        return unit
    told = f"{name} {field.get('description', '')}".lower()
    if "percent" in told or "%" in told:
        return f"{unit}(%| percent)?"
    is_share = not _SHARES.isdisjoint(re.findall(r"[a-z]+", name.lower()))
    return f"{_escaped(in_percent(value))}(%| percent)" if is_share and 0 < value < 1 else unit


def _unit(value: JsonValue) -> str:
    if isinstance(value, bool) or value is None or isinstance(value, dict):
        return ""
    if isinstance(value, list):
        return _SEPARATOR.join(filter(None, (_unit(item) for item in value)))
    if isinstance(value, str):
        return _escaped(value.strip())
    plain = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return _escaped(plain)


def _escaped(text: str) -> str:
    return "".join("\\" + character if character in _SPECIAL else character for character in text)
