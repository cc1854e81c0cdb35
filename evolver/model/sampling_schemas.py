"""Parameter schemas, narrowed for sampling."""

import copy
import json
import random
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from agent.tools.grammar import MAX_DIGITS, bound_digits
from toolkit.schemas import nodes

_LONGEST_LIST = 6
_OPTIONAL_SHARE = 1 / 3
"""Probability of an optional parameter: people mostly leave options out."""


def bounded(
    schema: dict[str, JsonValue], rng: random.Random, choices: Mapping[str, Sequence[JsonValue]] | None = None
) -> dict[str, JsonValue]:
    """Return ``schema`` with short lists and numbers, and some of its optional parameters.

    ``choices`` are values of which a parameter, or each element of its list, takes one. Other texts have no bound: one
    would cut them off in the middle of a word, and make the grammar slow. An optional flag is true where it is in: who
    does not want it says nothing.

    Lessons must show optional parameters both used and left out, or the model fills in everything.
    """
    required: Any = schema.get("required", [])
    properties: Any = schema.get("properties", {})
    names = [
        name
        for name in properties
        if name in required or (rng.random() < _OPTIONAL_SHARE and not _is_on(properties[name]))
    ]
    bound: Any = restricted(schema, names)
    for name, values in (choices or {}).items():
        if name in bound["properties"] and values:
            bound["properties"][name] = _one_of(bound["properties"][name], list(values))
    for name, field in bound["properties"].items():
        if name not in required and isinstance(field, dict) and field.get("type") == "boolean":
            field["enum"] = [True]
        _bound_field(field)
    for node in nodes(bound):
        bound_digits(node)
    return bound


def _one_of(field: dict[str, Any], values: list[JsonValue]) -> dict[str, Any]:
    """Return ``field``, or the elements of its list, narrowed to ``values``."""
    if field.get("type") == "array":
        return {**field, "items": _one_of(field.get("items", {}), values), "maxItems": min(2, len(values))}
    kept = {key: value for key, value in field.items() if key in ("title", "description")}
    return {**kept, "enum": values}


def _is_on(field: Any) -> bool:
    """A flag that nobody needs to ask for."""
    return isinstance(field, dict) and field.get("default") is True


def restricted(schema: dict[str, JsonValue], names: Collection[str]) -> dict[str, JsonValue]:
    """Return ``schema`` with the parameters ``names`` only, all of them required."""
    narrow: Any = copy.deepcopy(schema)
    properties = {name: field for name, field in narrow.get("properties", {}).items() if name in names}
    return {**narrow, "properties": properties, "required": list(properties), "additionalProperties": False}


def _bound_field(field: Any) -> None:
    if not isinstance(field, dict):
        return
    if field.get("type") == "string" and "enum" not in field:
        field.setdefault("minLength", 1)
    if field.get("type") == "array":
        chosen = isinstance(field.get("items"), dict) and "enum" in field["items"]
        field.setdefault("minItems", 1 if chosen else 2)
        field.setdefault("maxItems", 2 if chosen else _LONGEST_LIST)
        _bound_field(field.get("items"))


def json_pattern(schema: dict[str, JsonValue]) -> str | None:
    """Return a regular expression for objects of a flat ``schema`` as ``json.dumps`` writes them; None for another
    schema.

    Under a JSON grammar a small model spends its tokens on line breaks and strange characters.
    """
    properties: Any = schema.get("properties", {})
    fields = [(name, _value_pattern(field)) for name, field in properties.items()]
    if any(pattern is None for _, pattern in fields):
        return None
    inside = ", ".join(f"{_literal(name)}: {pattern}" for name, pattern in fields)
    return r" ?\{" + inside + r"\}"


def _value_pattern(field: Any) -> str | None:
    if not isinstance(field, dict):
        return None
    if "enum" in field or "const" in field:
        return "(" + "|".join(_literal(value) for value in field.get("enum", [field.get("const")])) + ")"
    if "anyOf" in field:
        choices = [_value_pattern(choice) for choice in field["anyOf"]]
        return None if None in choices else "(" + "|".join(filter(None, choices)) + ")"
    kind = field.get("type")
    if kind == "array":
        item = _value_pattern(field.get("items"))
        least, most = field.get("minItems", 0), field.get("maxItems", _LONGEST_LIST)
        if item is None or not 0 < least <= most <= 2 * _LONGEST_LIST:
            return None
        optional = ""
        for _ in range(most - least):
            optional = f"(, {item}{optional})?"
        return r"\[" + ", ".join([item] * least) + optional + r"\]"
    return _PLAIN.get(kind) if isinstance(kind, str) else None


_INTEGER = f"-?(0|[1-9][0-9]{{0,{MAX_DIGITS - 1}}})"
_PLAIN = {
    "string": r'"[^"\\\x00-\x1f]+"',
    "integer": _INTEGER,
    "number": rf"{_INTEGER}(\.[0-9]{{1,{MAX_DIGITS}}})?",
    "boolean": "(true|false)",
    "null": "null",
}


def _literal(value: Any) -> str:
    return re.sub(r"([\\.^$*+?()\[\]{}|/-])", r"\\\1", json.dumps(value))
