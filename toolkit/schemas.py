"""JSON schemas from outside: checked, and written without references.

A schema is a tree of keywords. Only some of them hold further schemas; the values of all others, ``default`` and
``enum`` among them, are data and are copied as they are.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from typing import Any
from urllib.parse import unquote

from toolkit.schema_keywords import (
    LISTS,
    MAPS,
    SINGLE,
    TELLING,
    BadSchema,
    SchemaPath,
    check_bounds,
    check_keywords,
    modern,
    short,
)
from toolkit.schema_merge import Unsatisfiable, merged

MAX_NODES = 2000
"""Schemas that one tool may hold once its references are resolved."""
MAX_REPEATED = 1 << 18
"""Characters of names and values that the references of one tool may repeat."""
MAX_DEPTH = 16
_TOO_LARGE = "unfolds to too many fields; use fewer references, or plain objects"
_ROOT = frozenset(("#",))
_DEFINITIONS = frozenset(("$defs", "definitions"))
_DATA = frozenset(("default", "const", "enum", "examples"))
"""Keywords whose value may be null; elsewhere null is how some languages write "not given"."""


@dataclass
class Budget:
    """The number of schemas that may still be made, and of characters that references may still repeat."""

    nodes: int = MAX_NODES
    characters: int = MAX_REPEATED

    def take(self, path: SchemaPath, *, nodes: int = 0, characters: int = 0) -> None:
        """Subtract what is about to be made. Raises BadSchema when that is more than is left."""
        self.nodes -= nodes
        self.characters -= characters
        if self.nodes < 0 or self.characters < 0:
            raise BadSchema(path[:2], _TOO_LARGE)


def resolved(
    schema: object,
    *,
    dropped: frozenset[str] = frozenset(),
    budget: Budget | None = None,
    change_data: Callable[[Any], Any] = lambda value: value,
) -> dict[str, Any]:
    """Return ``schema`` without references, without ``allOf``, and with ``anyOf`` in place of ``oneOf``.

    Where a definition contains itself, and below MAX_DEPTH, the inner schema keeps only its type. Keywords in
    ``dropped`` are left out; ``change_data`` is applied to names of properties and to all values that are no schemas.
    Older spellings become those of draft 2020-12: ``definitions``, ``nullable``, a list of ``items``, a boolean
    ``exclusiveMinimum``. Raises BadSchema for what is no JSON schema, for references that lead out of ``schema``, for
    schemas that no value fits, and when ``budget`` is used up.
    """
    found = _Resolver(schema, dropped, budget or Budget(), change_data).schema(schema, (), 0, _ROOT)
    if found is False:
        raise BadSchema((), "no value fits it")
    return found if isinstance(found, dict) else {}


def arguments_schema(schema: dict[str, Any], *, closed: bool = False) -> dict[str, Any]:
    """Return a resolved ``schema`` as that of a call's arguments: type object, with ``properties`` and ``required``.

    Alternatives at the top become one list of properties; required are those that all alternatives require. With
    ``closed``, a schema that names no property allows none, which is what leaving the schema out means to OpenAI.
    Raises BadSchema where arguments could not be an object.
    """
    options = schema.get("anyOf")
    if isinstance(options, list) and all(isinstance(option, dict) and "properties" in option for option in options):
        schema = _one_of_all({key: value for key, value in schema.items() if key != "anyOf"}, options)
    kind = schema.get("type", "object")
    if "object" not in ([kind] if isinstance(kind, str) else kind):
        raise BadSchema(("type",), f"{json.dumps(kind)} is no object; a tool's arguments are one")
    found = {"properties": {}, "required": [], **schema, "type": "object"}
    if closed and not found["properties"] and not found["required"]:
        found.setdefault("additionalProperties", False)
        if found["additionalProperties"] is False:
            found["const"] = {}  # else a small model may fill the braces with line breaks to the end of its tokens
    return found


def _one_of_all(schema: dict[str, Any], options: list[dict[str, Any]]) -> dict[str, Any]:
    properties: dict[str, Any] = dict(schema.get("properties", {}))
    for option in options:
        properties = {**option["properties"], **properties}
    shared = [name for name in properties if all(name in option.get("required", ()) for option in options)]
    return {
        **schema,
        "properties": properties,
        "required": [*schema.get("required", ()), *(name for name in shared if name not in schema.get("required", ()))],
    }


@dataclass
class _Resolver:
    root: object
    dropped: frozenset[str]
    budget: Budget
    change_data: Callable[[Any], Any]
    _targets: dict[str, Any] = field(default_factory=dict)

    def schema(self, node: object, path: SchemaPath, depth: int, within: frozenset[str]) -> dict[str, Any] | bool:
        """Return ``node`` resolved; ``within`` are the references that it stands in."""
        if isinstance(node, bool):
            return node
        if not isinstance(node, dict):
            raise BadSchema(path, f"{short(node)} is no schema; write an object")
        self.budget.take(path, nodes=1)
        node = modern({key: value for key, value in node.items() if value is not None or key in _DATA})
        check_keywords(node, path)
        if depth > MAX_DEPTH:
            return self._open(node)
        parts = [self._own(node, path, depth, within)]
        if "$ref" in node:
            parts.append(self._referred(node["$ref"], path, depth, within))
        parts += [
            self.schema(part, (*path, "allOf", index), depth + 1, within)
            for index, part in enumerate(node.get("allOf", ()))
        ]
        try:
            whole = merged(parts)
        except Unsatisfiable as error:
            raise BadSchema(path, f"no value fits it: {error}") from None
        return self._plain(whole, path) if isinstance(whole, dict) else whole

    def _own(self, node: dict[str, Any], path: SchemaPath, depth: int, within: frozenset[str]) -> dict[str, Any] | bool:
        """``node`` but for ``$ref`` and ``allOf``."""
        found: dict[str, Any] = {}
        for key, value in node.items():
            if key in self.dropped or key in _DEFINITIONS or key in ("$ref", "allOf", "$anchor"):
                continue
            here = (*path, key)
            if within != _ROOT and not (key in LISTS or key in SINGLE):
                repeated = list(value) if key in MAPS else value
                self.budget.take(path, characters=len(json.dumps(repeated)))
            if key in MAPS:
                found[key] = {
                    self.change_data(name): self.schema(each, (*here, name), depth + 1, within)
                    for name, each in value.items()
                }
            elif key in LISTS:
                parts = [self.schema(each, (*here, index), depth + 1, within) for index, each in enumerate(value)]
                found["anyOf" if key == "oneOf" and "anyOf" not in node else key] = parts
            elif key in SINGLE:
                found[key] = self.schema(value, here, depth + 1, within)
            else:
                found[key] = self.change_data(value)
        return found

    def _plain(self, node: dict[str, Any], path: SchemaPath) -> dict[str, Any] | bool:
        """``node`` with its type named and without schemas that nothing, or everything, fits."""
        if "type" not in node and "enum" not in node and "const" not in node:
            kind = next((kind for key, kind in TELLING.items() if key in node), None)
            if kind is not None:
                node = {"type": kind, **node}
        for key in ("anyOf", "oneOf"):
            if key in node:
                node[key] = [{} if option is True else option for option in node[key] if option is not False]
                if not node[key]:
                    return False
        fields = node.get("properties", {})
        barred = [name for name, each in fields.items() if each is False]
        for name in barred:
            if name in node.get("required", ()):
                raise BadSchema((*path, "properties", name), "no value fits it")
        if fields:
            node["properties"] = {
                name: {} if each is True else each for name, each in fields.items() if each is not False
            }
        _plain_items(node)
        check_bounds(node, path)
        return node

    def _referred(self, reference: str, path: SchemaPath, depth: int, within: frozenset[str]) -> dict[str, Any] | bool:
        target = self._target(reference, path)
        if reference in within:
            return self._open(target)
        return self.schema(target, (*path, "$ref"), depth + 1, within | {reference})

    def _target(self, reference: str, path: SchemaPath) -> Any:
        if reference not in self._targets:
            base, _, place = reference.partition("#")
            if base or "#" not in reference:
                raise BadSchema((*path, "$ref"), f"refers to {reference[:80]}, which is outside of it")
            anchor, *keys = place.split("/")
            try:
                node: Any = self._anchors[anchor] if anchor else self.root
                for part in keys:
                    key = unquote(part).replace("~1", "/").replace("~0", "~")
                    node = node[int(key)] if isinstance(node, list) else node[key]
            except (KeyError, ValueError, IndexError, TypeError):
                raise BadSchema((*path, "$ref"), f"refers to {reference[:80]}, which it lacks") from None
            self._targets[reference] = node
        return self._targets[reference]

    @cached_property
    def _anchors(self) -> dict[str, Any]:
        """The schemas of the root that have an ``$anchor``, by its name."""
        found: dict[str, Any] = {}
        left = [self.root]
        while left:
            node = left.pop()
            if not isinstance(node, dict):
                continue
            if isinstance(name := node.get("$anchor"), str):
                found.setdefault(name, node)
            for key, value in node.items():
                if key in MAPS | _DEFINITIONS and isinstance(value, dict):
                    left += value.values()
                elif key in LISTS | SINGLE:
                    left += value if isinstance(value, list) else [value]
        return found

    def _open(self, node: object) -> dict[str, Any]:
        """Only what can be said of ``node`` without looking into it."""
        if not isinstance(node, dict):
            return {}
        kept = {key: node[key] for key in ("type", "description") if node.get(key) is not None}
        check_keywords(kept, ())
        return {key: self.change_data(value) for key, value in kept.items() if key not in self.dropped}


def _plain_items(node: dict[str, Any]) -> None:
    """Turn what no item fits into a bound on the length, and leave out what every item fits. Changes ``node``."""
    if "prefixItems" in node:
        allowed = list(takewhile(lambda each: each is not False, node["prefixItems"]))
        if len(allowed) < len(node["prefixItems"]):
            node["items"] = False
        node["prefixItems"] = [{} if each is True else each for each in allowed]
    if node.get("items") is False:
        node["maxItems"] = min(node.get("maxItems", math.inf), len(node.get("prefixItems", ())))
    if isinstance(node.get("items"), bool):
        del node["items"]
    if not node.get("prefixItems"):
        node.pop("prefixItems", None)


def nodes(schema: object) -> Iterator[dict[str, Any]]:
    """Yield the schemas that a resolved ``schema`` consists of, outermost first. They may be changed in place."""
    if not isinstance(schema, dict):
        return
    yield schema
    for key, value in schema.items():
        if key in MAPS and isinstance(value, dict):
            for each in value.values():
                yield from nodes(each)
        elif key in LISTS and isinstance(value, list):
            for each in value:
                yield from nodes(each)
        elif key in SINGLE:
            yield from nodes(value)
