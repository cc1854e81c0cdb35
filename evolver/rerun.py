"""Running the calls of lessons: each once more than it was, and where a tool is pure with one result."""

from pydantic import JsonValue

from evolver import checks
from evolver.types import Call
from toolkit.execute import Executor
from toolkit.tool import Effect, ToolCall, ToolResult, render_result


def run(call: Call, executor: Executor) -> ToolResult:
    """Raises SandboxUnavailable."""
    return executor.execute(ToolCall(id="lesson", **call.model_dump()))


def again(call: Call, executor: Executor, first: tuple[JsonValue, ...], *, always: bool = False) -> str:
    """Run ``call`` once more: why it is none to learn from, or "". A pure tool must give what it gave ``first`` (one
    value; none where it gave none); any tool, if it must do so ``always``. Raises SandboxUnavailable."""
    tool, result = executor.registry.get(call.name), run(call, executor)
    if result.error is not None and not (tool and checks.worked(tool, result)):
        return f"call_{result.error.kind.value}"
    if tool and (always or tool.effect is Effect.PURE) and first != (result.value,):
        return "result_changes"
    return "result_too_long" if len(render_result(result)) > checks.LONGEST else ""
