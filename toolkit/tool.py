"""What a tool is: its declaration, a call of it, and the result of the call.

A tool is a typed Python function. ``@tool(effect=...)`` marks it; ``describe`` turns its signature and docstring into
the JSON schema that the model reads.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue


F = TypeVar("F", bound=Callable[..., Any])


class Effect(StrEnum):
    """What calling the tool does to the world; decides what the evolver may execute."""

    PURE = "pure"
    """Same arguments, same result, nothing changed."""
    READS = "reads"
    """Reads something outside the sandbox that changes over time (clock, web, files)."""
    WRITES = "writes"
    """Changes state. ``Tool.sandbox_state`` says whether that state lives wholly in the sandbox's workspace."""


class ToolErrorKind(StrEnum):
    """The closed set of reasons for which a call has no value."""

    UNKNOWN_TOOL = "unknown_tool"
    INVALID_ARGUMENTS = "invalid_arguments"
    TOOL_FAILED = "tool_failed"
    """The tool ran and raised; the message is its own."""
    TIMEOUT = "timeout"
    RESOURCE_LIMIT = "resource_limit"
    BAD_RESULT = "bad_result"
    """What came out of the sandbox was too large or no JSON."""
    CRASHED = "crashed"
    MALFORMED_CALL = "malformed_call"
    """The model opened a tool call that does not parse."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tool(_Frozen):
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

    def schema(self) -> dict[str, Any]:
        """The entry for ``tools`` in an OpenAI chat request."""
        return {
            "type": "function",
            "function": {"name": self.name, "description": self.description, "parameters": self.parameters},
        }


class ToolCall(_Frozen):
    """One call that the model asks for. ``arguments`` is None where what it wrote is no JSON object; ``raw`` keeps it."""

    id: str
    name: str
    arguments: dict[str, JsonValue] | None
    raw: str = ""


class ToolError(_Frozen):
    """Why a call has no value, in words that the model can act on."""

    kind: ToolErrorKind
    message: str


class ToolResult(_Frozen):
    """What came of one call: ``value`` (JSON) or ``error``."""

    call_id: str
    name: str
    value: JsonValue = None
    error: ToolError | None = None
    duration_ms: float = 0.0

    @property
    def ok(self) -> bool:
        return self.error is None


class Declaration(_Frozen):
    """What ``@tool`` leaves on a function."""

    effect: Effect
    sandbox_state: bool


def tool(*, effect: str = "writes", sandbox_state: bool = False) -> Callable[[F], F]:
    raise NotImplementedError
