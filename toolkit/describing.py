"""JSON schemas for typed functions, as the model reads them."""

import inspect
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any, get_args, get_type_hints

import docstring_parser
from pydantic import JsonValue, TypeAdapter
from pydantic.errors import PydanticUserError

from toolkit.declare import Declaration, Effect, Known, declaration_of
from toolkit.schema_keywords import BadSchema
from toolkit.schemas import resolved
from toolkit.tool import Tool

_DROPPED = frozenset(("title", "discriminator"))
_EMPTY = inspect.Parameter.empty


class NotDescribable(ValueError):
    """The function has a parameter that no JSON schema can stand for; the message says which and why."""


def describe(function: Callable[..., Any], *, source: str = "builtin", name: str | None = None) -> Tool:
    """Return the Tool for a typed function: schema from the type hints, texts from the docstring.

    The description is the docstring's first paragraph. Parameters are described in the style of Google (``Args:``),
    NumPy, Sphinx (``:param name:``) or Epytext. Without ``@tool`` the effect is
    ``writes``. Raises NotDescribable for ``*args``, untyped parameters and types without a schema.
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
        known=_known(function),
    )


def tools_of(module: ModuleType, *, source: str) -> list[Tool]:
    """Return the functions that ``module`` itself defines and marks with ``@tool``."""
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
        elif isinstance(parameter.default, float) and not math.isfinite(parameter.default):
            raise NotDescribable(
                f"{function.__name__}: parameter {parameter.name} has the default {parameter.default}, which is no "
                "JSON number; use None"
            )
        elif parameter.default is not None:
            field["default"] = parameter.default
        if parameter.name in explained:
            field["description"] = explained[parameter.name]
        properties[parameter.name] = field
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _known(function: Callable[..., Any]) -> dict[str, tuple[str | int, ...]]:
    hints = get_type_hints(function, include_extras=True)
    found = {name: _marked(hint) for name, hint in hints.items() if name != "return"}
    return {name: values for name, values in found.items() if values}


def _marked(annotation: Any) -> tuple[str | int, ...]:
    """Values of the mark Known in ``annotation``, however deep: ``list[Annotated[str, Known(...)]] | None``."""
    if isinstance(annotation, Known):
        return annotation.values
    return next((values for part in get_args(annotation) if (values := _marked(part))), ())


def schema_of(annotation: Any, where: str) -> dict[str, Any]:
    """Return the JSON schema of a type hint, without titles and references. Raises NotDescribable, naming ``where``.

    A type that contains itself is described once; inside, it is any object.
    """
    try:
        schema = TypeAdapter(annotation).json_schema()
    except (PydanticUserError, TypeError) as error:
        raise NotDescribable(f"{where} has a type without a JSON schema: {annotation!r}") from error
    try:
        return resolved(schema, dropped=_DROPPED)
    except BadSchema as error:
        raise NotDescribable(f"{where} has a type whose schema {error}") from error


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Return the first paragraph, and what is said of each parameter, in Google's, NumPy's, Sphinx' or Epytext's style.

    Of a docstring that is in none of these, the first paragraph counts.
    """
    try:
        parsed = docstring_parser.parse(text)
    except docstring_parser.ParseError:
        return _one_line(text.split("\n\n", maxsplit=1)[0]), {}
    paragraph = parsed.short_description or ""
    if parsed.long_description and not parsed.blank_after_short_description:
        paragraph += "\n" + parsed.long_description.split("\n\n")[0]
    explained = {found.arg_name.lstrip("*"): _one_line(found.description or "") for found in parsed.params}
    return _one_line(paragraph), {name: words for name, words in explained.items() if words}


def _one_line(text: str) -> str:
    return " ".join(text.split())
