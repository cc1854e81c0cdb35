"""JSON schemas as the grammar of a server's structured output can hold them.

vLLM turns a schema into a grammar with xgrammar, which refuses some valid schemas and misreads others. What it cannot
hold is left out here, so that the grammar allows more than the schema, never something else.
"""

import math
import re
from typing import Any

from toolkit.schemas import nodes

MAX_DIGITS = 15
"""Digits of a number before its point, where its schema gives no bound: all that a double holds exactly."""
_MOST = 10**MAX_DIGITS - 1
_MOST_COUNTED = 1000
"""The largest length that a grammar counts to; beyond, compiling it takes seconds."""
_LONGEST_PATTERN = 200
_LENGTHS = ("minLength", "maxLength", "minItems", "maxItems")
_RANGE = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
_KEPT = frozenset(
    (
        *("type", "description", "default", "enum", "const", "anyOf"),
        *("properties", "required", "additionalProperties", "items", "prefixItems"),
        *("pattern", "format", *_LENGTHS, *_RANGE),
    )
)
_FORMATS = frozenset(("email", "date", "time", "date-time", "duration", "ipv4", "ipv6", "hostname", "uuid", "uri"))
_PLAIN_PATTERN = re.compile(
    r"\^(?:[^\\^$.*+?(){}\[\]|]|\\[dws.+*?(){}\[\]|/-]|\[\^?(?:[A-Za-z0-9_ .,:;@#%&=!~'\"/+*-]|\\[dws.\-])+\]"
    r"|\((?:\?:)?|\)|\||\.|(?<=[^(|^])[+*?]|\{[0-9]{1,2}(?:,[0-9]{1,2})?\})*\$"
)
"""Anchored at both ends, as the grammar takes every pattern; no assertion, no back reference, short repetitions."""


def for_grammar(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a resolved ``schema`` (toolkit.schemas) with the keywords that the grammar holds, and numbers bounded.

    ``schema`` itself is changed. Nothing that the prompt shows changes.
    """
    for node in list(nodes(schema)):
        for key in [key for key in node if key not in _KEPT]:
            del node[key]
        _bound_lengths(node)
        bound_digits(node)
        if len(node.get("prefixItems", ())) > node.get("maxItems", math.inf):  # xgrammar refuses what cannot be written
            node["prefixItems"] = node["prefixItems"][: node["maxItems"]]
            if not node["prefixItems"]:
                del node["prefixItems"]
        if "array" in node.get("type", ()):
            node.setdefault("items", True)  # without, xgrammar refuses minItems
        if node.get("required"):
            # The grammar leaves out a required name that is no property.
            properties = node.setdefault("properties", {})
            properties |= {name: {} for name in node["required"] if name not in properties}
    return schema


def bound_digits(node: dict[str, Any]) -> None:
    """Give the numbers that the schema ``node`` allows, if any, the bounds that it lacks. Changes ``node``.

    The bound is MAX_DIGITS before the point; within bounds, xgrammar allows 6 digits after it and no exponent. Without,
    a small model may write digits until its tokens are spent.
    """
    kinds = node.get("type", ())
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    if not kinds & {"integer", "number"} or "enum" in node or "const" in node:
        return
    for key in [key for key in _RANGE if key in node]:
        if abs(node[key]) > _MOST:
            del node[key]
        elif "number" not in kinds:
            node[key] = _INWARD[key](node[key])
    lowest, highest = _ends(node)
    if lowest > highest:
        for key in _RANGE:
            node.pop(key, None)
    if "minimum" not in node and "exclusiveMinimum" not in node:
        node["minimum"] = -_MOST
    if "maximum" not in node and "exclusiveMaximum" not in node:
        node["maximum"] = _MOST


_INWARD = {"minimum": math.ceil, "exclusiveMinimum": math.floor, "maximum": math.floor, "exclusiveMaximum": math.ceil}
"""To a whole number that means the same for integers."""


def _ends(node: dict[str, Any]) -> tuple[float, float]:
    """The smallest and the largest number in range; an excluded end counts as one further in."""
    lowest = max(node.get("minimum", -math.inf), node.get("exclusiveMinimum", -math.inf) + 1)
    highest = min(node.get("maximum", math.inf), node.get("exclusiveMaximum", math.inf) - 1)
    return lowest, highest


def _bound_lengths(node: dict[str, Any]) -> None:
    """A text has a plain pattern, a known format or lengths: the grammar does not hold two of these together."""
    pattern = node.get("pattern")
    if pattern is not None and not (len(pattern) <= _LONGEST_PATTERN and _PLAIN_PATTERN.fullmatch(pattern)):
        del node["pattern"]
    if "format" in node and ("pattern" in node or node["format"] not in _FORMATS):
        del node["format"]
    for key in _LENGTHS:
        if key in node:
            node[key] = int(node[key])
            if node[key] > _MOST_COUNTED or (key.endswith("Length") and ("pattern" in node or "format" in node)):
                del node[key]
