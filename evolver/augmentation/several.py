"""Kept single calls -> requests that need the same tool for several values: two towns are named in place of one.

The wording is the model's own. Nothing is generated or executed here.
"""

import random
from collections import Counter
from typing import Any

from pydantic import JsonValue

from evolver.augmentation.values import Values
from evolver.text.value_spans import is_spoken, places, replaced, said
from evolver.types import Call, Trace, TraceKind
from toolkit.registry import ToolRegistry
from toolkit.tool import Tool

_THREE = 0.3
"""Share of variants with three values instead of two."""
_TRIES = 4


def several(source: Trace, values: Values, tools: ToolRegistry, rng: random.Random) -> Trace | None:
    """Return a trace that asks for the call of ``source`` with two or three values of one parameter, without results.

    None where several values cannot stand in place of one: another argument of that form could be meant, the tool takes
    lists itself, or no other values are known.
    """
    (call,) = source.calls
    tool = tools.get(call.name)
    spoken = {name: value for name, value in call.arguments.items() if is_spoken(value)}
    found_at = places(source.request, spoken)
    names = _free(tool, call) if tool and found_at and len(found_at) == len(spoken) else []
    if not names or not found_at:
        return None
    name = rng.choice(names)
    named = _others(call, name, values, rng)
    if len(named) == 1:
        return None
    texts = {other: source.request[begin:end] for begin, end, other in found_at}
    *first, last = (said(value) for value in named)
    texts[name] = f"{', '.join(first)} and {last}"
    calls = tuple(Call(name=call.name, arguments={**call.arguments, name: value}) for value in named)
    changed = {
        "id": f"{source.id}-s",
        "kind": TraceKind.PARALLEL,
        "request": replaced(source.request, found_at, texts),
        "calls": calls,
        "results": (),
        "answer": "",
    }
    return source.model_copy(update=changed).sourced(derived_from=source.provenance.derived_from or source.id)


def _free(tool: Tool, call: Call) -> list[str]:
    """Return the stated parameters of whose form there is no other in ``tool``; none where it takes lists."""
    properties: Any = tool.parameters.get("properties", {})
    forms = Counter(_form(field) for field in properties.values())
    if forms["list"]:
        return []
    return [n for n, value in call.arguments.items() if is_spoken(value) and forms[_form(properties.get(n, {}))] == 1]


def _form(field: dict[str, Any]) -> str:
    """Return the form of a parameter's values as far as a person tells them apart: number, text, list, or a choice."""
    if "enum" in field:
        return f"choice of {field['enum']}"
    kinds = {field.get("type"), *(choice.get("type") for choice in field.get("anyOf", ()) if isinstance(choice, dict))}
    if "array" in kinds or "object" in kinds:
        return "list"
    return "number" if kinds & {"number", "integer"} else "text" if "string" in kinds else "flag"


def _others(call: Call, name: str, values: Values, rng: random.Random) -> list[JsonValue]:
    """Return the value of ``call`` and one or two different ones."""
    named = [call.arguments[name]]
    wanted = 3 if rng.random() < _THREE else 2
    for _ in range(_TRIES):
        value = values.other(call.name, name, named[0], rng)
        if is_spoken(value) and value not in named and len(named) < wanted:
            named.append(value)
    return named
