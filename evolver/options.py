"""A request and its call, asking for one thing more: an optional parameter that the call leaves out. Pure.

The wording stays the model's; what is added names the parameter, as people do who know what they want ("..., including
Saturdays", "... with 4 decimals"). Beside the request as it was, that is a lesson in what fills an optional parameter
and what leaves it out (docs/decisions/0047).
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from evolver.flags import flag_words, words_of
from evolver.places import said
from evolver.types import Call
from toolkit.tool import Tool

_ENDS = ".?!"
_OFFERED = ("with", "including", "include")
_FLAGS = ("{flag}", "{flag} please", "and {flag}")
_CHOICES = ("{value}", "{name} {value}", "in {value} {name}", "with {value} {name}", "using {value}", "as {value}")
_NUMBERS = ("with {value} {name}", "{name} {value}", "with {name} {value}", "and {name} of {value}")
_TEXTS = ('{name} "{value}"', "with {name} {value}", 'and use "{value}" as {name}')


def left_out(tool: Tool, call: Call) -> list[str]:
    """The optional parameters that ``call`` does not give."""
    schema: Any = tool.parameters
    return [
        name
        for name in schema.get("properties", {})
        if name not in call.arguments and name not in schema.get("required", [])
    ]


def with_option(
    request: str, call: Call, name: str, field: Mapping[str, Any], values: Sequence[JsonValue], chooser: random.Random
) -> tuple[str, Call] | None:
    """``request`` and ``call`` with the parameter ``name`` in both; None where there is no value to ask for. ``values``
    are those that the model gave the parameter elsewhere."""
    value = _value(field, values, chooser)
    if value is None:
        return None
    asked = _asked(name, field, value, chooser)
    body = request.rstrip(_ENDS)
    joined = f"{body} {asked}" if asked.startswith(("and ", "in ", "as ", "using ")) else f"{body}, {asked}"
    return joined + request[len(body) :], Call(name=call.name, arguments={**call.arguments, name: value})


def _value(field: Mapping[str, Any], values: Sequence[JsonValue], chooser: random.Random) -> JsonValue:
    default = field.get("default")
    if field.get("type") == "boolean":
        return None if default is True else True
    choices = field.get("items", {}).get("enum") if isinstance(field.get("items"), dict) else None
    if choices:
        return chooser.sample(choices, chooser.randint(1, min(2, len(choices))))
    found = [value for value in field.get("enum") or values if value != default]
    if found:
        return chooser.choice(found)
    if field.get("type") not in ("integer", "number"):
        return None
    step = 1 if field["type"] == "integer" else 0.5
    return chooser.choice([number * step for number in range(2, 40) if number * step != default])


def _asked(name: str, field: Mapping[str, Any], value: JsonValue, chooser: random.Random) -> str:
    if value is True:
        words, offered = flag_words(name)
        flag = " ".join([chooser.choice(_OFFERED), *words] if offered else words)
        return chooser.choice(_FLAGS).format(flag=flag)
    ways = _CHOICES if "enum" in field or isinstance(value, list) else _TEXTS if isinstance(value, str) else _NUMBERS
    return chooser.choice(ways).format(name=" ".join(words_of(name)), value=said(value))
