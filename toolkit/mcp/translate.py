"""An MCP server's tools and results as ours. All that a server says is text from outside: bounded and neutralised."""

import hashlib
import json
from typing import Any

from mcp_types import CallToolResult, TextContent
from mcp_types import Tool as ServerTool

from toolkit.names import BadName, normalised
from toolkit.sandbox import ExecResult, Status
from toolkit.sandbox.frames import BadFrame, parse_strict
from toolkit.tool import Effect, Tool, neutral

_MOST_SCHEMA = 16 << 10
_MOST_DEPTH = 16
_MOST_TEXT = 400
_DESTRUCTIVE = " It may delete or overwrite."
_DROPPED = frozenset(("pattern", "patternProperties", "title", "$schema", "$id", "$comment", "format", "examples"))
"""Not taken over. A pattern of a stranger's could keep the host busy for ever."""


class NotUsable(ValueError):
    """The server's tool cannot be offered; the message says why."""


def translate(server: str, tool: ServerTool) -> Tool:
    """``tool`` under a name that begins with the server's. Raises NotUsable.

    A tool ``writes`` but for one with ``readOnlyHint``, which ``reads``. With ``destructiveHint`` it writes in any
    case, and its description says so. ``pure`` is nothing that a server can promise.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        name = normalised(server, tool.name)
    except BadName as error:
        raise NotUsable(str(error)) from None
    if len(json.dumps(tool.input_schema)) > _MOST_SCHEMA:
        raise NotUsable(f"its schema is larger than {_MOST_SCHEMA >> 10} KiB")
    definitions = {**tool.input_schema.get("$defs", {}), **tool.input_schema.get("definitions", {})}
    schema = _plain(tool.input_schema, definitions, 0)
    schema.pop("$defs", None)
    schema.pop("definitions", None)
    if schema.get("type") != "object":
        raise NotUsable("its schema is no object")
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise NotUsable(f"its schema is no JSON schema: {error.message[:100]}") from None
    return Tool(
        name=name,
        description=_short(tool.description or tool.name) + (_DESTRUCTIVE if _hint(tool, "destructive_hint") else ""),
        parameters={"properties": {}, "required": [], **schema},
        effect=_effect(tool),
        source=f"mcp:{server}",
        module=server,
        function=tool.name,
    )


def repeatable(tool: ServerTool) -> bool:
    """Whether a call may be made again where nobody knows whether it arrived: it reads, or has ``idempotentHint``."""
    return _effect(tool) is Effect.READS or _hint(tool, "idempotent_hint")


def _effect(tool: ServerTool) -> Effect:
    reads = _hint(tool, "read_only_hint") and not _hint(tool, "destructive_hint")
    return Effect.READS if reads else Effect.WRITES


def _hint(tool: ServerTool, name: str) -> bool:
    return tool.annotations is not None and getattr(tool.annotations, name) is True


def fingerprint(tool: ServerTool) -> str:
    """Changes when the server says something else of its tool."""
    said = [tool.name, tool.description, tool.input_schema, tool.annotations and tool.annotations.model_dump()]
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def to_result(result: CallToolResult, output_kib: int) -> tuple[Status, Any, str]:
    """Status, value and message of a server's answer. Raises BadFrame for a value that is no strict JSON."""
    texts = [part.text if isinstance(part, TextContent) else f"[{part.type}]" for part in result.content]
    text = "\n".join(texts)
    value = result.structured_content if result.structured_content is not None else _parsed(text)
    if isinstance(value, dict) and set(value) == {"result"}:
        value = value["result"]
    encoded = json.dumps(value).encode()
    if len(encoded) > output_kib * 1024:
        return Status.BAD_RESULT, None, f"the result is larger than {output_kib} KiB; ask for less"
    if result.is_error:
        return Status.TOOL_FAILED, None, text[:2000] or "the tool failed"
    return Status.OK, parse_strict(encoded), ""


def failed(status: Status, message: str, seconds: float) -> ExecResult:
    return ExecResult(status, message=message, duration_ms=round(seconds * 1000, 3))


def _parsed(text: str) -> Any:
    try:
        value = parse_strict(text.encode("utf-8", "replace"))
    except BadFrame:
        return text
    return value if isinstance(value, (dict, list)) else text


def _short(text: str) -> str:
    text = neutral(" ".join(text.split()))
    return text if len(text) <= _MOST_TEXT else text[: _MOST_TEXT - 1] + "…"


def _plain(node: Any, definitions: dict[str, Any], depth: int) -> Any:
    if depth > _MOST_DEPTH:
        raise NotUsable("its schema is nested too deep or contains itself")
    if isinstance(node, list):
        return [_plain(item, definitions, depth + 1) for item in node]
    if isinstance(node, str):
        return neutral(node)
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions.get(str(node["$ref"]).rpartition("/")[2])
        if not str(node["$ref"]).startswith("#/") or not isinstance(target, dict):
            raise NotUsable(f"its schema refers to {str(node['$ref'])[:80]}")
        return _plain(
            {**target, **{key: value for key, value in node.items() if key != "$ref"}}, definitions, depth + 1
        )
    if "properties" in node and isinstance(node["properties"], dict):
        fields = {neutral(name): _plain(field, definitions, depth + 1) for name, field in node["properties"].items()}
    else:
        fields = None
    kept = {
        key: _short(value) if key == "description" and isinstance(value, str) else _plain(value, definitions, depth + 1)
        for key, value in node.items()
        if key not in _DROPPED and key not in ("properties", "$defs", "definitions")
    }
    return kept if fields is None else {**kept, "properties": fields}
