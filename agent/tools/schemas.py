"""The tools of a client's request, as the model is shown them and its calls are held to them, and the forms of answers.

vLLM renders the prompt and builds the grammar from what is returned here, so both see the same tool. A schema that
cannot be one of JSON Schema is refused before an answer begins, wherever vLLM takes one.
"""

import json
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from agent.http.http_error import HttpError
from agent.text import strict_json
from agent.tools.grammar import for_grammar
from toolkit.schema_keywords import BadSchema, shown_path
from toolkit.schemas import MAX_NODES, Budget, arguments_schema, resolved

_MOST_NODES = 20_000
"""Schemas in all tools of one request: half a second of work where none came before."""
_CACHED = 1024
_CACHED_LENGTH = 1 << 16


class BadTool(ValueError):
    """A tool, or a response format, that cannot be used. ``parameter`` names the field of the request."""

    def __init__(self, parameter: str, message: str) -> None:
        self.parameter = parameter
        super().__init__(message)


def checked(prepare: Callable[[dict[str, Any]], dict[str, Any]], body: dict[str, Any]) -> dict[str, Any]:
    """Return ``body`` as ``prepare`` makes it. Raises HttpError naming the field whose schema cannot be used."""
    try:
        return prepare(body)
    except BadTool as error:
        raise HttpError(400, str(error), param=error.parameter) from error


def prepared_request(body: dict[str, Any]) -> dict[str, Any]:
    """Return a chat request with its tools and its response format prepared. Raises BadTool."""
    body = prepared_answer(body)
    return {**body, "tools": prepared(body["tools"])} if isinstance(body.get("tools"), list) else body


def prepared_answer(body: dict[str, Any]) -> dict[str, Any]:
    """Return a chat or completion request with its response format prepared and its structured outputs checked.

    Raises BadTool.
    """
    outputs = body.get("structured_outputs")
    if isinstance(outputs, dict):
        _check_outputs(outputs)
    if isinstance(body.get("response_format"), dict):
        body = {**body, "response_format": prepared_format(body["response_format"])}
    return body


def prepared(tools: list[Any]) -> list[Any]:
    """Return ``tools`` with the parameters of each function resolved, checked and bounded; the rest as it is.

    A function without parameters (left out, null, ``{}``, an object without properties) takes none: its arguments are
    ``{}``. Raises BadTool naming the tool and the field.
    """
    left = _MOST_NODES
    found: list[Any] = []
    for index, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict):
            found.append(tool)
            continue
        where = f"tools[{index}].function.parameters"
        try:
            parameters, used = _arguments(json.dumps(function.get("parameters")))
        except BadSchema as error:
            raise BadTool(*_told(where, f"the tool {function.get('name')!r}", error)) from None
        left -= used
        if left < 0:
            raise BadTool("tools", f"the tools have more than {_MOST_NODES} fields in all; send fewer")
        found.append({**tool, "function": {**function, "parameters": parameters}})
    return found


def prepared_format(response_format: dict[str, Any]) -> dict[str, Any]:
    """Return an OpenAI ``response_format`` with its schema, if it has one, resolved, checked and bounded.

    The schemas of a structural tag are checked and stay as they are. Raises BadTool naming the field.
    """
    if response_format.get("type") == "structural_tag":
        _check_tag(response_format, "response_format")
        return response_format
    named = response_format.get("json_schema")
    if response_format.get("type") != "json_schema" or not isinstance(named, dict) or named.get("schema") is None:
        return response_format
    try:
        schema = for_grammar(resolved(named["schema"]))
    except BadSchema as error:
        raise BadTool(*_told("response_format.json_schema.schema", "the response format", error)) from None
    return {**response_format, "json_schema": {**named, "schema": schema}}


def _check_outputs(outputs: dict[str, Any]) -> None:
    """Check the schemas in vLLM's ``structured_outputs``, which are sent on as they are. Raises BadTool."""
    if outputs.get("json") is not None:
        where = "structured_outputs.json"
        _check(_parsed(outputs["json"], where), where)
    if outputs.get("structural_tag") is not None:
        where = "structured_outputs.structural_tag"
        _check_tag(_parsed(outputs["structural_tag"], where), where)


def _parsed(value: Any, where: str) -> Any:
    """Return the value of a JSON text, any other ``value`` unchanged. Raises BadTool for a text that is not JSON."""
    if not isinstance(value, str):
        return value
    try:
        return strict_json.DECODER.decode(value)
    except ValueError:
        raise BadTool(where, f"{where} is not JSON; send an object, or a text of JSON") from None
    except RecursionError:
        raise BadTool(where, f"{where} is nested too deep; use plain objects") from None


def _check_tag(tag: Any, where: str) -> None:
    """Check every schema of a structural tag: of its ``structures``, or anywhere in its ``format``. Raises BadTool."""
    left = _MOST_NODES
    try:
        for path, schema in _tag_schemas(tag):
            left -= _check(schema, f"{where}.{shown_path(path)}")
            if left < 0:
                raise BadTool(where, f"{where}: its schemas have more than {_MOST_NODES} fields in all; send fewer")
    except RecursionError:
        raise BadTool(where, f"{where} is nested too deep; use plain objects") from None


def _tag_schemas(tag: Any) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield the path and the value of each schema that xgrammar reads in a structural tag."""
    if not isinstance(tag, dict):
        return
    structures = tag.get("structures")
    for index, structure in enumerate(structures if isinstance(structures, list) else ()):
        if isinstance(structure, dict) and structure.get("schema") is not None:
            yield ("structures", index, "schema"), structure["schema"]
    yield from _format_schemas(tag.get("format"), ("format",))


def _format_schemas(node: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in pairs:
        if key == "json_schema":
            yield (*path, key), value
        else:
            yield from _format_schemas(value, (*path, key))


def _check(schema: Any, where: str) -> int:
    """Return the number of schemas in ``schema``. Raises BadTool naming the field, which is at or in ``where``."""
    budget = Budget()
    try:
        resolved(schema, budget=budget)
    except BadSchema as error:
        raise BadTool(*_told(where, "the answer", error)) from None
    except RecursionError:
        raise BadTool(where, f"{where} is nested too deep; use plain objects") from None
    return MAX_NODES - budget.nodes


def _told(where: str, owner: str, error: BadSchema) -> tuple[str, str]:
    parameter = ".".join(part for part in (where, shown_path(error.path)) if part).replace(".[", "[")
    return parameter, f"{parameter}: {error.reason}; correct the schema of {owner}"


def _arguments(text: str) -> tuple[dict[str, Any], int]:
    """The schema in ``text``, and how many schemas it consists of. It may be shared: do not change it."""
    return _known(text) if len(text) <= _CACHED_LENGTH else _made(text)


def _made(text: str) -> tuple[dict[str, Any], int]:
    budget = Budget()
    try:
        schema = json.loads(text)
        found = arguments_schema(resolved(schema if schema is not None else {}, budget=budget), closed=True)
    except RecursionError:
        raise BadSchema((), "is nested too deep; use plain objects") from None
    return for_grammar(found), MAX_NODES - budget.nodes


_known = lru_cache(maxsize=_CACHED)(_made)
