"""Values of a tool: its declaration, a call of it, and the result of the call.

A tool is a typed Python function. ``@tool(effect=...)`` marks it; ``toolkit.describing`` turns its signature and
docstring into the JSON schema that the model reads.
"""

import json
from enum import StrEnum
from typing import Any

from pydantic import Field, JsonValue

from toolkit.declare import Declaration, Effect, tool
from toolkit.frozen import Frozen
from toolkit.json_texts import with_texts
from toolkit.printable import neutral, printable

__all__ = [
    "Declaration",
    "Effect",
    "Tool",
    "ToolCall",
    "ToolError",
    "ToolErrorKind",
    "ToolResult",
    "neutral",
    "neutral_value",
    "printable",
    "render_result",
    "tool",
]


class ToolErrorKind(StrEnum):
    """The closed set of reasons for which a call has no value."""

    UNKNOWN_TOOL = "unknown_tool"
    INVALID_ARGUMENTS = "invalid_arguments"
    TOOL_FAILED = "tool_failed"
    """The tool ran and raised; the message is its own."""
    TIMEOUT = "timeout"
    RESOURCE_LIMIT = "resource_limit"
    BAD_RESULT = "bad_result"
    """The result was too large or no JSON."""
    CRASHED = "crashed"
    LOST = "lost"
    """The sandbox lost the worker that ran it, which says nothing about the call."""
    MALFORMED_CALL = "malformed_call"
    """The model opened a tool call that does not parse."""


class Tool(Frozen):
    """A tool as the model and the sandbox know it.

    ``parameters`` is a JSON schema of type object. ``module`` and ``function`` name the code; it is imported only
    inside the sandbox. ``source`` says where the tool comes from: ``builtin``, ``module:NAME``, ``mcp:SERVER``.
    """

    name: str
    description: str
    parameters: dict[str, JsonValue]
    effect: Effect = Effect.WRITES
    sandbox_state: bool = False
    source: str = "builtin"
    module: str = ""
    function: str = ""
    known: dict[str, tuple[str | int, ...]] = Field(default_factory=dict)
    """Values that a parameter, or each element of it, can be given in a fresh workspace (toolkit.declare.Known)."""
    binding: JsonValue = None
    """Binding of the arguments to a Python function that is no tool by itself (toolkit.python_call); None: by name."""

    def schema(self) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the entry for ``tools`` in an OpenAI chat request."""
        return {
            "type": "function",
            "function": {"name": self.name, "description": self.description, "parameters": self.parameters},
        }


class ToolCall(Frozen):
    """One call that the model asks for. ``arguments`` is None where that is no JSON object; ``raw`` keeps the text."""

    id: str
    name: str
    arguments: dict[str, JsonValue] | None
    raw: str = ""


class ToolError(Frozen):
    """Reason why a call has no value, in words that the model can act on."""

    kind: ToolErrorKind
    message: str


class ToolResult(Frozen):
    """Outcome of one call: ``value`` (JSON) or ``error``."""

    call_id: str
    name: str
    value: JsonValue = None
    error: ToolError | None = None
    duration_ms: float = 0.0

    @property
    def ok(self) -> bool:
        return self.error is None


def render_result(result: ToolResult) -> str:
    """Return the text that the model, a log or a terminal gets: the JSON value, or ``error (kind): message``;
    neutralised."""
    if result.error is not None:
        return neutral(f"error ({result.error.kind.value}): {result.error.message}")
    return neutral(json.dumps(neutral_value(result.value), ensure_ascii=False))


def neutral_value(value: Any) -> Any:
    """Return a JSON ``value`` with all its texts, and the keys of its objects, neutralised."""
    return with_texts(value, neutral, keys=neutral)
