"""Several JSON schemas that all hold, as one: what ``allOf`` and the keywords beside a ``$ref`` mean."""

import json
from collections.abc import Iterable
from typing import Any

Schema = dict[str, Any] | bool


class Unsatisfiable(ValueError):
    """No value fits all of the schemas; the message says why."""


def merged(parts: Iterable[Schema]) -> Schema:
    """Return one schema for values that fit all ``parts``; of what only describes, the first part's counts.

    Where JSON Schema has no keyword for the conjunction (two ``anyOf``, two patterns), the first part's is kept, so
    that the result may allow more. Raises Unsatisfiable.
    """
    whole: Schema = True
    for part in parts:
        whole = _both(whole, part)
    return {} if whole is True else whole


def _both(first: Schema, second: Schema) -> Schema:
    if isinstance(first, bool) or isinstance(second, bool):
        if first is False or second is False:
            return False
        return second if first is True else first
    if not first or not second:
        return first or second
    found = {**second, **first}
    for key in first.keys() & second.keys():
        combine = _COMBINE.get(key)
        if combine is not None:
            found[key] = combine(first[key], second[key])
    values = _values(first, second)
    if values is not None:
        found.pop("const", None)
        found["enum"] = values
    return found


def _values(first: dict[str, Any], second: dict[str, Any]) -> list[Any] | None:
    """The values that both name; None unless both do."""
    one, other = (part.get("enum", [part["const"]] if "const" in part else None) for part in (first, second))
    if one is None or other is None:
        return None
    known = {json.dumps(value, sort_keys=True) for value in other}
    both = [value for value in one if json.dumps(value, sort_keys=True) in known]
    if not both:
        raise Unsatisfiable("its parts name different values")
    return both


def _types(first: str | list[str], second: str | list[str]) -> str | list[str]:
    one, other = ([kinds] if isinstance(kinds, str) else list(kinds) for kinds in (first, second))
    both = [kind for kind in one if kind in other or (kind == "integer" and "number" in other)]
    both += [kind for kind in other if kind == "integer" and "number" in one and kind not in both]
    if not both:
        raise Unsatisfiable(f"its parts are of type {' or '.join(one)} and {' or '.join(other)}")
    return both[0] if len(both) == 1 else both


def _properties(first: dict[str, Schema], second: dict[str, Schema]) -> dict[str, Schema]:
    return {
        name: _both(first[name], second[name])
        if name in first and name in second
        else first.get(name, second.get(name))
        for name in {**first, **second}
    }  # pyright: ignore[reportReturnType]


def _union(first: list[str], second: list[str]) -> list[str]:
    return list(dict.fromkeys((*first, *second)))


_COMBINE: dict[str, Any] = {
    "type": _types,
    "properties": _properties,
    "patternProperties": _properties,
    "required": _union,
    "items": _both,
    "additionalProperties": _both,
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), min),
}
