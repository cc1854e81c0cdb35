"""From a typed function to the JSON schema that the model reads."""

import inspect
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any, get_type_hints

from pydantic import JsonValue, TypeAdapter
from pydantic.errors import PydanticUserError

from toolkit.declare import Declaration, Effect, declaration_of
from toolkit.tool import Tool

_SECTION = re.compile(r"^(args|arguments|parameters|returns|raises|yields|examples?|notes?):\s*$", re.IGNORECASE)
_ENTRY = re.compile(r"^\s*\*{0,2}(\w+)(?:\s*\([^)]*\))?\s*:\s+(\S.*)$")
_EMPTY = inspect.Parameter.empty


class NotDescribable(ValueError):
    """The function has a parameter that no JSON schema can stand for; the message says which and why."""


def describe(function: Callable[..., Any], *, source: str = "builtin", name: str | None = None) -> Tool:
    """The Tool for a typed function: schema from the type hints, texts from the docstring.

    The description is the docstring's first paragraph; parameters are described under ``Args:``. Without ``@tool``
    the effect is ``writes``. Raises NotDescribable for ``*args``, untyped parameters and types without a schema.
    """
    declared = declaration_of(function) or Declaration(effect=Effect.WRITES, sandbox_state=False)
    text, explained = _read_docstring(inspect.getdoc(function) or "")
    return Tool(
        name=name or function.__name__,
        description=text or function.__name__.replace("_", " "),
        parameters=_parameters(function, explained),
        effect=declared.effect,
        sandbox_state=declared.sandbox_state,
        source=source,
        module=function.__module__,
        function=function.__qualname__,
    )


def tools_of(module: ModuleType, *, source: str) -> list[Tool]:
    """The functions that ``module`` itself defines and marks with ``@tool``."""
    functions = [
        function
        for _, function in inspect.getmembers(module, inspect.isfunction)
        if declaration_of(function) is not None and function.__module__ == module.__name__
    ]
    functions.sort(key=lambda function: function.__code__.co_firstlineno)
    return [describe(function, source=source) for function in functions]


def _parameters(function: Callable[..., Any], explained: dict[str, str]) -> dict[str, JsonValue]:
    hints = get_type_hints(function, include_extras=True)
    properties: dict[str, JsonValue] = {}
    required: list[JsonValue] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise NotDescribable(f"{function.__name__}: parameter {parameter.name} cannot be passed by name")
        if parameter.name not in hints:
            raise NotDescribable(f"{function.__name__}: parameter {parameter.name} has no type hint; add one")
        field = schema_of(hints[parameter.name], f"{function.__name__}: parameter {parameter.name}")
        if parameter.default is _EMPTY:
            required.append(parameter.name)
        elif parameter.default is not None:
            field["default"] = parameter.default
        if parameter.name in explained:
            field["description"] = explained[parameter.name]
        properties[parameter.name] = field
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def schema_of(annotation: Any, where: str) -> dict[str, Any]:
    """The JSON schema of a type hint, without titles and references. Raises NotDescribable, naming ``where``."""
    try:
        schema = TypeAdapter(annotation).json_schema()
    except (PydanticUserError, TypeError) as error:
        raise NotDescribable(f"{where} has a type without a JSON schema: {annotation!r}") from error
    definitions = schema.pop("$defs", {})
    return _flat(schema, definitions, depth=0, where=where)


def _flat(node: Any, definitions: dict[str, Any], *, depth: int, where: str) -> Any:
    if depth > 16:
        raise NotDescribable(f"{where} has a type that contains itself; use a plain dict")
    if isinstance(node, list):
        return [_flat(item, definitions, depth=depth + 1, where=where) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[-1]]
        node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
    flat = {}
    for key, value in node.items():
        if key == "title" and isinstance(value, str):
            continue
        if key == "properties":
            flat[key] = {name: _flat(field, definitions, depth=depth + 1, where=where) for name, field in value.items()}
        elif key in ("default", "const", "enum", "examples"):
            flat[key] = value
        else:
            flat[key] = _flat(value, definitions, depth=depth + 1, where=where)
    return flat


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """First paragraph, and what is said of each parameter (``Args:`` section, or lines ``name: text``)."""
    lines = text.splitlines()
    paragraph: list[str] = []
    explained: dict[str, str] = {}
    current, in_arguments = "", False
    for line in lines:
        section = _SECTION.match(line.strip())
        if section:
            in_arguments, current = section[1].lower() in ("args", "arguments", "parameters"), ""
            continue
        entry = _ENTRY.match(line) if in_arguments else None
        if entry and _indent(line) <= 4:
            current = entry[1]
            explained[current] = entry[2].strip()
        elif in_arguments and current and line.strip():
            explained[current] += " " + line.strip()
    for line in lines:
        if not line.strip() or _SECTION.match(line.strip()):
            break
        paragraph.append(line.strip())
    return " ".join(paragraph), explained


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
