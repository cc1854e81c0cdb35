"""The keywords of JSON schemas: their forms, and schemas of older drafts."""

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeGuard

TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")

MAPS = frozenset(("properties", "patternProperties", "dependentSchemas"))


LISTS = frozenset(("anyOf", "oneOf", "allOf", "prefixItems"))


SINGLE = frozenset(
    (
        *("items", "additionalProperties", "contains", "propertyNames", "not", "if", "then", "else"),
        *("additionalItems", "unevaluatedItems", "unevaluatedProperties"),
    )
)


SchemaPath = tuple[str | int, ...]


class BadSchema(ValueError):
    """The schema cannot be used. ``path`` leads to the keyword that is wrong, ``reason`` says why."""

    def __init__(self, path: Iterable[str | int], reason: str) -> None:
        self.path = tuple(path)
        self.reason = reason
        super().__init__(f"{shown_path(self.path)}: {reason}" if self.path else reason)


def shown_path(path: Iterable[str | int]) -> str:
    """Return ``("anyOf", 0, "type")`` as ``anyOf[0].type``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


TELLING = {"properties": "object", "additionalProperties": "object", "items": "array", "prefixItems": "array"}
"""Keywords that only make sense for one type, and that type."""


def modern(node: dict[str, Any]) -> dict[str, Any]:
    """Return ``node`` in the spellings of draft 2020-12."""
    for bound, strict in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(node.get(strict), bool):
            is_strict = node.pop(strict)
            if is_strict and bound in node:
                node[strict] = node.pop(bound)
    if isinstance(node.get("items"), list):
        node["prefixItems"] = node.pop("items")
        if "additionalItems" in node:
            node["items"] = node.pop("additionalItems")
    if node.pop("nullable", None) is True and isinstance(node.get("type"), str):
        node["type"] = [node["type"], "null"]
        if isinstance(node.get("enum"), list) and None not in node["enum"]:
            node["enum"] = [*node["enum"], None]
    return node


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return _is_number(value) and float(value).is_integer() and value >= 0


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


_FORMS: dict[str, tuple[Callable[[object], bool], str]] = {
    **dict.fromkeys(MAPS, (lambda value: isinstance(value, dict), "an object of schemas")),
    **dict.fromkeys(LISTS, (lambda value: isinstance(value, list) and bool(value), "a list of schemas")),
    **dict.fromkeys(SINGLE, (lambda value: isinstance(value, dict | bool), "a schema")),
    **dict.fromkeys(
        (
            *("minLength", "maxLength", "minItems", "maxItems"),
            *("minProperties", "maxProperties", "minContains", "maxContains"),
        ),
        (_is_count, "a whole number from 0"),
    ),
    **dict.fromkeys(
        ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), (_is_number, "a number")
    ),
    **dict.fromkeys(
        ("description", "title", "pattern", "format", "$ref", "$schema", "$id", "$comment", "$anchor"),
        (lambda value: isinstance(value, str), "a text"),
    ),
    "uniqueItems": (lambda value: isinstance(value, bool), "true or false"),
    "required": (_is_texts, "a list of names"),
    "enum": (lambda value: isinstance(value, list) and bool(value), "a list of at least one value"),
}  # fmt: skip


def check_keywords(node: dict[str, Any], path: SchemaPath) -> None:
    """Check each keyword. Raises BadSchema for the first whose value JSON Schema does not allow."""
    for key, value in node.items():
        fits, words = _FORMS.get(key, (None, ""))
        if fits is not None and not fits(value):
            raise BadSchema((*path, key), f"{short(value)} is not {words}")
    kinds = node.get("type", TYPES)
    for kind in [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list | tuple) and kinds else [kinds]:
        if kind not in TYPES:
            raise BadSchema((*path, "type"), f"{short(kind)} is none of {', '.join(TYPES)}")


_BOUNDS = (
    ("minimum", "maximum"),
    ("minLength", "maxLength"),
    ("minItems", "maxItems"),
    ("minProperties", "maxProperties"),
)


def check_bounds(node: dict[str, Any], path: SchemaPath) -> None:
    """Raise BadSchema where a lower bound of ``node`` is above the upper one."""
    for low, high in _BOUNDS:
        if low in node and high in node and node[low] > node[high]:
            raise BadSchema((*path, low), f"no value fits it: {low} {node[low]} is above {high} {node[high]}")


def short(value: object) -> str:
    """Return ``value`` as JSON, cut to 60 characters."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:59]}…"
