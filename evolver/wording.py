"""A pattern for requests that state every value of a call: the model says the rest in its own words.

A small model that is asked to mention six numbers forgets four; under this pattern it cannot. What the pattern forces
against the model's will shows as a low likelihood, by which ``evolver.verify`` chooses.
"""

from collections.abc import Iterable

from pydantic import JsonValue

# Repetitions are unbounded: counted ones make the grammar's masks a hundred times slower (xgrammar 0.2.8).
_WORD = "[A-Za-z',&-]+"
_BEFORE = f"( [\"']?| [A-Z]({_WORD})?( {_WORD})* [\"'$]?)"
_BETWEEN = f"[\"'%,]? ({_WORD} )*[\"'$]?"
_AFTER = f"[\"'%]?( {_WORD})*[.?!]"
_SEPARATOR = "(, | and |, and )"
_SPECIAL = frozenset("\\.^$*+?()[]{}|/-")


def stating(values: Iterable[JsonValue]) -> str | None:
    """A regular expression for one sentence with every value; None where there is nothing to state.

    The values stand in the call's order, backwards, or begun at the second. Lists are stated element by element;
    booleans and objects cannot be stated and are left to the sentence.
    """
    units = [unit for unit in (_unit(value) for value in values) if unit]
    if not units:
        return None
    orders = dict.fromkeys(_BETWEEN.join(order) for order in (units, units[::-1], units[1:] + units[:1]))
    return _BEFORE + "(" + "|".join(orders) + ")" + _AFTER


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
