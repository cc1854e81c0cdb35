"""A pattern for requests that state every value of a call: the model says the rest in its own words.

A small model that is asked to mention six numbers forgets four; under this pattern it cannot. What the pattern forces
against the model's will shows as a low likelihood, by which ``evolver.verify`` chooses.
"""

import itertools
from collections.abc import Iterable

from pydantic import JsonValue

_WORD = "[A-Za-z',&-]{1,14}"
_BEFORE = f"( [\"']?| [A-Z]({_WORD})?( {_WORD}){{0,12}} [\"'$]?)"
_BETWEEN = f"[\"'%,]{{0,2}} ({_WORD} ){{0,7}}[\"'$]?"
_AFTER = f"[\"'%]{{0,2}}( {_WORD}){{0,6}}[.?!]"
_SEPARATOR = "(, | and |, and )"
_MOST_ORDERS = 6
_SPECIAL = frozenset("\\.^$*+?()[]{}|/-")


def stating(values: Iterable[JsonValue]) -> str | None:
    """A regular expression for one sentence with every value, in any order; None where there is nothing to state.

    Lists are stated element by element; booleans and objects cannot be stated and are left to the sentence.
    """
    units = [unit for unit in (_unit(value) for value in values) if unit]
    if not units:
        return None
    orders = itertools.islice(itertools.permutations(units), _MOST_ORDERS)
    return _BEFORE + "(" + "|".join(_BETWEEN.join(order) for order in orders) + ")" + _AFTER


def _unit(value: JsonValue) -> str:
    if isinstance(value, bool) or value is None or isinstance(value, dict):
        return ""
    if isinstance(value, list):
        return _SEPARATOR.join(filter(None, (_unit(item) for item in value)))
    if isinstance(value, str):
        return _escaped(value.strip())
    plain = str(int(value)) if float(value).is_integer() else str(value)
    return _escaped(plain)


def _escaped(text: str) -> str:
    return "".join("\\" + character if character in _SPECIAL else character for character in text)
