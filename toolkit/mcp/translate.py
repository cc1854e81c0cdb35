"""An MCP server's tools and results as ours. All that a server says is text from outside: bounded and neutralised."""

import hashlib
import json
from typing import Any

from mcp_types import CallToolResult, TextContent
from mcp_types import Tool as ServerTool

from toolkit.names import BadName, fitted
from toolkit.sandbox import ExecResult, Status
from toolkit.sandbox.frames import BadFrame, parse_strict
from toolkit.schema_keywords import BadSchema
from toolkit.schemas import arguments_schema, nodes, resolved
from toolkit.tool import Effect, Tool, neutral, neutral_value

_MOST_SCHEMA = 16 << 10
_MOST_TEXT = 400
_DESTRUCTIVE = " It may delete or overwrite."
_DROPPED = frozenset(("pattern", "patternProperties", "title", "$schema", "$id", "$comment", "format", "examples"))
"""Not taken over. A pattern of a stranger's could keep the host busy for ever."""


class NotUsable(ValueError):
    """The server's tool cannot be offered; the message says why."""


def translate(server: str, tool: ServerTool) -> Tool:
    """Return ``tool`` under a name that begins with the server's. Raises NotUsable.

    A tool ``writes`` but for one with ``readOnlyHint``, which ``reads``. With ``destructiveHint`` it writes in any
    case, and its description says so. ``pure`` is nothing that a server can promise.
    """
    try:
        name = fitted(server, tool.name)
    except BadName as error:
        raise NotUsable(str(error)) from None
    return Tool(
        name=name,
        description=_short(tool.description or tool.name) + (_DESTRUCTIVE if _hint(tool, "destructive_hint") else ""),
        parameters=_parameters(tool.input_schema),
        effect=_effect(tool),
        source=f"mcp:{server}",
        module=server,
        function=tool.name,
    )


def _parameters(schema: dict[str, Any]) -> dict[str, Any]:
    try:
        size = len(json.dumps(schema, allow_nan=False))
    except ValueError:
        raise NotUsable("its schema has a number that JSON has not, or that is too large") from None
    if size > _MOST_SCHEMA:
        raise NotUsable(f"its schema is larger than {_MOST_SCHEMA >> 10} KiB")
    try:
        found = arguments_schema(resolved(schema, dropped=_DROPPED, change_data=neutral_value), closed=True)
    except BadSchema as error:
        raise NotUsable(f"its schema is no JSON schema that can be used: {neutral(str(error))}") from None
    for node in nodes(found):
        if "description" in node:
            node["description"] = _short(node["description"])
    return found


def repeatable(tool: ServerTool) -> bool:
    """Return whether a call may be made again where nobody knows whether it arrived: it reads, or has
    ``idempotentHint``."""
    return _effect(tool) is Effect.READS or _hint(tool, "idempotent_hint")


def _effect(tool: ServerTool) -> Effect:
    reads = _hint(tool, "read_only_hint") and not _hint(tool, "destructive_hint")
    return Effect.READS if reads else Effect.WRITES


def _hint(tool: ServerTool, name: str) -> bool:
    return tool.annotations is not None and getattr(tool.annotations, name) is True


def fingerprint(tool: ServerTool) -> str:
    """Return a hash that changes when the server says something else of its tool."""
    said = [tool.name, tool.description, tool.input_schema, tool.annotations and tool.annotations.model_dump()]
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def to_result(result: CallToolResult, output_kib: int) -> tuple[Status, Any, str]:
    """Return status, value and message of a server's answer. Raises BadFrame for a value that is no strict JSON."""
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
