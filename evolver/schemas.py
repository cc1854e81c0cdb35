"""Parameter schemas, narrowed for sampling."""

import copy
import random
from collections.abc import Collection
from typing import Any

from pydantic import JsonValue

_LONGEST_LIST = 6


def bounded(schema: dict[str, JsonValue], chooser: random.Random) -> dict[str, JsonValue]:
    """``schema`` with bounds that keep sampled lists short; each optional parameter is in or out by a coin flip.

    Texts have no bound: one would cut them off in the middle of a word, and make the grammar slow.

    Lessons must show optional parameters both used and left out, or the model fills in everything.
    """
    required: Any = schema.get("required", [])
    properties: Any = schema.get("properties", {})
    names = [name for name in properties if name in required or chooser.random() < 0.5]
    bound: Any = restricted(schema, names)
    for field in bound["properties"].values():
        _bound_field(field)
    return bound


def restricted(schema: dict[str, JsonValue], names: Collection[str]) -> dict[str, JsonValue]:
    """``schema`` with the parameters ``names`` only, all of them required."""
    narrow: Any = copy.deepcopy(schema)
    properties = {name: field for name, field in narrow.get("properties", {}).items() if name in names}
    return {**narrow, "properties": properties, "required": list(properties), "additionalProperties": False}


def _bound_field(field: Any) -> None:
    if not isinstance(field, dict):
        return
    if field.get("type") == "string" and "enum" not in field:
        field.setdefault("minLength", 1)
    if field.get("type") == "array":
        field.setdefault("minItems", 2)
        field.setdefault("maxItems", _LONGEST_LIST)
        _bound_field(field.get("items"))
