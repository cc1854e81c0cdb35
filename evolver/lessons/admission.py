"""Say whether a trace may be learned: the one place where the checks of a lesson are put together.

Whoever makes traces or keeps them asks ``reject``. Execution is beside it (evolver.lessons.reexecution), and what only
a set of traces shows, duplicates, too (evolver.lessons.duplicates).
"""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Protocol

from evolver.lessons import checks, client_turn, safety
from evolver.lessons.client_tools import OwnTools, index_of, tools_of
from evolver.lessons.drop_reason import DropReason
from evolver.lessons.execution_policy import for_lessons
from evolver.types import Trace, TraceKind
from toolkit.registry import ToolRegistry
from toolkit.search import ToolIndex
from toolkit.tool import Tool


class HeldOut(Protocol):
    """The fingerprints of requests and tools that are kept for evaluation."""

    @property
    def names(self) -> tuple[str, ...]:
        """The suites and benchmarks that they are of."""
        ...

    def __call__(self, request: str) -> bool:
        """Return whether ``request`` stands in one of them."""
        ...

    def tool(self, description: str) -> bool:
        """Return whether a tool of one of them is described like this."""
        ...


@dataclass(frozen=True)
class LessonPolicy:
    """Rules of one cycle for what may be learned, and its tools.

    ``index`` searches ``tools``. ``personal_data`` rejects traces with addresses, telephone numbers and the like.
    ``allow_reads`` lets lessons run tools that declare the effect ``reads``.
    """

    tools: ToolRegistry
    index: ToolIndex
    held_out: HeldOut
    personal_data: bool = True
    allow_reads: bool = False

    @cached_property
    def own(self) -> OwnTools:
        """Return ``tools`` as they look when a client sends them."""
        return OwnTools(self.tools)

    def tool_of(self, trace: Trace, name: str) -> Tool | None:
        """Return the tool of this name that ``trace`` was shown: a client's own, or one of ``tools``."""
        return tools_of(trace).get(name) if trace.client_turn is not None else self.tools.get(name)

    def runs(self, trace: Trace, name: str) -> bool:
        """Return whether a call of ``trace`` may be executed with the tool of this name; an unknown one may be tried.

        Of a client's tools only those may that have name and parameters of a registered one.
        """
        if trace.client_turn is None:
            return self.may_run(self.tools.get(name))
        named = [schema for schema in trace.client_turn.tools if schema["function"]["name"] == name]
        return bool(named) and all(map(self.own.has, named)) and self.may_run(self.tools.get(name))

    def may_run(self, tool: Tool | None) -> bool:
        """Return whether lessons may run ``tool``; an unknown one may be tried."""
        return tool is None or for_lessons(tool, allow_reads=self.allow_reads)


def reject(trace: Trace, policy: LessonPolicy) -> DropReason | None:
    """Return the reason for which ``trace`` must not be learned, or None.

    A composed trace consists of traces that were judged: only what their joined text may have become is judged again.
    A variant has the wording of its source, whose tool was judged to fit it. Pure.
    """
    if trace.kind == TraceKind.PARALLEL:
        return _held_out(trace, policy) or safety.unsafe(trace, personal_data=policy.personal_data)
    index = policy.index if trace.client_turn is None else index_of(trace)
    return (
        checks.wording(trace)
        or client_turn.outcome(trace)
        or _held_out(trace, policy)
        or safety.unsafe(trace, personal_data=policy.personal_data)
        or checks.grounding(trace)
        or (None if trace.provenance.derived_from else checks.relevance(trace, index))
        or checks.options(trace, partial(policy.tool_of, trace))
    )


def _held_out(trace: Trace, policy: LessonPolicy) -> DropReason | None:
    return DropReason.HELD_OUT if any(map(policy.held_out, trace.spoken)) else None
