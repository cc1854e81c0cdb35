"""Grammars for requests that state every value of a call, and for answers that tell its result: the model says the rest
in its own words.

A small model that is asked to mention six numbers forgets four; under this grammar it cannot. What the grammar forces
against the model's will shows as a low likelihood, by which ``evolver.verification.verify`` chooses.

The grammars are in xgrammar's EBNF, which vLLM takes as ``structured_outputs`` of the kind ``grammar``. The rules that
all of them have are the same text in each, so that the server compiles them once (docs/decisions/0115).
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import JsonValue

from agent.text.flags import flag_grammar
from evolver.text.value_spans import in_percent

_OPENERS = (
    "What", "What's", "Which", "How", "When", "Who", "Is", "Are", "Does", "Can", "Could", "Would", "Please", "Tell",
    "Give", "Show", "Find", "Help", "I need", "I want", "I'd like", "I have",
)  # fmt: skip
"""Beginnings of requests to an assistant; left free, a small model states facts instead."""
# Repetitions are unbounded: counted ones make the grammar's masks a hundred times slower (xgrammar 0.2.8).
_WORD = "word ::= [A-Za-z',&-]+\n"
_REQUEST_RULES = f"""opener ::= {" | ".join(map(json.dumps, _OPENERS))}
before ::= (" " word)* " " ["'$]?
between ::= ["',]? " " (word " ")* ["'$]?
separator ::= ", " | " and " | ", and "
after ::= ["']? (" " word)* [.?!]
{_WORD}"""
_ANSWER_RULES = f"""words ::= (" " word)*
separator ::= ", " | " and " | ", and "
{_WORD}"""
_SHARES = frozenset(("rate", "share", "fraction", "probability", "chance", "ratio", "odds"))


def stating(arguments: Mapping[str, JsonValue], schema: Mapping[str, Any], verb: str = "") -> str | None:
    """Return a grammar for one request with every value; None where there is nothing to state. ``schema`` is the
    tool's, of its parameters.

    It begins as requests do: with a question, a wish, or ``verb``, what the tool does. The values stand in the call's
    order, backwards, or begun at the second. Lists are stated element by element, a flag that is set by its name, a
    share of one in percent, and nothing else in percent but what its parameter says is; objects cannot be stated and
    are left to the sentence.
    """
    fields = schema.get("properties", {})
    units = [unit for name, value in arguments.items() if (unit := _stated(name, value, fields.get(name, {})))]
    if not units:
        return None
    orders = dict.fromkeys(" between ".join(order) for order in (units, units[::-1], units[1:] + units[:1]))
    opener = f"(opener | {_quoted(verb)})" if verb.isalpha() and verb not in _OPENERS else "opener"
    return f'root ::= " " {opener} before ({" | ".join(orders)}) after\n{_REQUEST_RULES}'


def telling(result: JsonValue, values: Iterable[JsonValue] = ()) -> str | None:
    """Return a grammar for one sentence that tells ``result``, and beside it at most the call's ``values``; None for
    what cannot be told.

    A truth value is told by yes or no.
    """
    units = [unit for unit in dict.fromkeys(map(_unit, values)) if unit]
    value = f"""value ::= ["']? ({" | ".join(units)}) ["'%]? ","?\n""" if units else ""
    told = 'words (" " value words)*' if units else "words"
    if isinstance(result, bool):
        first = '" " (word | value)' if units else '" " word'
        return f'root ::= " {"Yes" if result else "No"}" ","? {first} {told} "."\n{value}{_ANSWER_RULES}'
    unit = _unit(result)
    root = f"""root ::= {told} " " ["']? {unit} ["'%]? {told} "."\n"""
    return root + value + _ANSWER_RULES if unit else None


def _stated(name: str, value: JsonValue, field: Mapping[str, Any]) -> str:
    if value is True:
        return flag_grammar(name)
    unit = _unit(value)
    if not unit or isinstance(value, bool) or not isinstance(value, int | float):
        return unit
    told = f"{name} {field.get('description', '')}".lower()
    if "percent" in told or "%" in told:
        return f'{unit} ("%" | " percent")?'
    is_share = not _SHARES.isdisjoint(re.findall(r"[a-z]+", name.lower()))
    return f'{_quoted(in_percent(value))} ("%" | " percent")' if is_share and 0 < value < 1 else unit


def _unit(value: JsonValue) -> str:
    if isinstance(value, bool) or value is None or isinstance(value, dict):
        return ""
    if isinstance(value, list):
        return " separator ".join(filter(None, (_unit(item) for item in value)))
    if isinstance(value, str):
        return _quoted(value.strip())
    return _quoted(str(int(value)) if isinstance(value, float) and value.is_integer() else str(value))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False) if text else ""
