"""Schemas in a client's request."""

from typing import Any


def obj(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


DEFINED = {
    "$defs": {
        "line": obj(sku={"type": "string", "description": "Code of the product."}, count={"type": "integer"}),
        "node": {"type": "object", "properties": {"name": {"type": "string"}, "next": {"$ref": "#/$defs/node"}}},
    }
}
