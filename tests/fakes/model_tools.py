"""Tools for tests of the agent: real functions, called in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from toolkit.tool import Effect, Tool, ToolCall, ToolError, ToolErrorKind, ToolResult


def _number(name: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": "number"}}, "required": [name]}


ADD = Tool(
    name="add",
    description="Add two numbers.",
    parameters={
        "type": "object",
        "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
        "required": ["a", "b"],
    },
    effect=Effect.PURE,
)
SQUARE = Tool(name="square", description="Square a number.", parameters=_number("x"), effect=Effect.PURE)
COUNT = Tool(name="count", description="Count calls of this tool.", parameters={"type": "object", "properties": {}})

TOOLS = (ADD, SQUARE, COUNT)


class InProcess:
    """Executor whose tools are plain functions; counts what ran and where."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, dict[str, Any]]] = []
        self.workspaces: list[Path | None] = []
        self.functions: dict[str, Callable[..., Any]] = {
            "add": lambda a, b: a + b,
            "square": lambda x: x * x,
            "count": lambda: len(self.ran),
        }

    def execute(self, call: ToolCall, *, workspace: Path | None = None) -> ToolResult:
        assert call.arguments is not None
        self.workspaces.append(workspace)
        self.ran.append((call.name, dict(call.arguments)))
        if call.name not in self.functions:
            return self._failed(call, ToolErrorKind.UNKNOWN_TOOL, f"there is no tool {call.name}")
        try:
            value = self.functions[call.name](**call.arguments)
        except TypeError as error:
            return self._failed(call, ToolErrorKind.INVALID_ARGUMENTS, str(error))
        return ToolResult(call_id=call.id, name=call.name, value=value)

    def _failed(self, call: ToolCall, kind: ToolErrorKind, message: str) -> ToolResult:
        return ToolResult(call_id=call.id, name=call.name, error=ToolError(kind=kind, message=message))


class AllTools:
    """Index that finds the same tools for every request."""

    def top(self, query: str, top_k: int) -> list[Tool]:
        return list(TOOLS[:top_k])
