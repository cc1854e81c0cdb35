"""Execute the calls of lessons once more, and compare."""

from collections.abc import Callable

from pydantic import JsonValue

from evolver.lessons import checks
from evolver.lessons.drop_reason import DropReason
from evolver.types import Call, Trace, TraceKind
from toolkit.execute import Executor
from toolkit.tool import Effect, ToolCall, ToolResult, render_result


def execute(call: Call, executor: Executor) -> ToolResult:
    """Return the result of ``call``. Raises SandboxUnavailable."""
    return executor.execute(ToolCall(id="lesson", **call.model_dump()))


def reject_execution(call: Call, executor: Executor, first: tuple[JsonValue, ...]) -> DropReason | None:
    """Execute ``call`` and return the reason not to learn from it, or None.

    A pure tool must return what it returned ``first`` (one value; none where it returned none). Raises
    SandboxUnavailable.
    """
    tool, result = executor.registry.get(call.name), execute(call, executor)
    if result.error is not None and not (tool and checks.worked(tool, result)):
        return DropReason.of_error(result.error.kind)
    if tool and tool.effect is Effect.PURE and first != (result.value,):
        return DropReason.RESULT_CHANGES
    return DropReason.RESULT_TOO_LONG if len(render_result(result)) > checks.LONGEST else None


def with_results(trace: Trace, executor: Executor, runs: Callable[[str], bool]) -> Trace:
    """Return a corrected trace with the results of its calls, as far as the tools that ``runs`` names can execute them.

    A person said which calls are right, and nobody has run them yet. Where a call fails, its results end, and judging
    the trace finds out why. Other traces stay as they are. Raises SandboxUnavailable.
    """
    if trace.kind != TraceKind.CORRECTED or trace.results:
        return trace
    results: list[JsonValue] = []
    for call in trace.calls:
        if executor.registry.get(call.name) is None or not runs(call.name):
            break
        result = execute(call, executor)
        if result.error is not None:
            break
        results.append(result.value)
    return trace.model_copy(update={"results": tuple(results)})
