"""Whether a request asks for its own call rather than for one of another tool with the same values.

A call that executes, and whose values the request states, may still not be what it asks for (30 % in APIGen, arXiv
2406.18518). The model that writes requests is asked how likely this one is under its call, and under rivals: calls of
the tools that the search takes for the next best, with the same values. Issue 5.
"""

from collections.abc import Iterable
from typing import Any

from jsonschema import Draft202012Validator
from pydantic import JsonValue

from evolver import few_shots
from evolver.generate import Generator
from evolver.types import Call, Trace
from toolkit.execute import Executor
from toolkit.search import ToolIndex
from toolkit.tool import Tool

_MAKERS = ("answer_first", "question_first")


def rivals(trace: Trace, index: ToolIndex, executor: Executor, most: int) -> list[Call]:
    """At most ``most`` valid calls of other tools with the values of the trace's call, the best tools first; none for
    traces of several calls, or that people's turns made."""
    if trace.maker not in _MAKERS or len(trace.calls) != 1:
        return []
    (call,) = trace.calls
    others = [tool for tool in index.top(trace.request, most + 1) if tool.name != call.name]
    fitted = (_fitted(tool, call.arguments.values(), executor) for tool in others[:most])
    return [rival for rival in fitted if rival is not None]


def asks_for_its_own(trace: Trace, others: Iterable[Call], executor: Executor, generator: Generator) -> bool:
    """Whether the trace's request is as likely under its call as under any of ``others``. Raises as Generator does."""
    own = _likelihood(trace.request, trace.calls[0], executor, generator)
    return all(own >= _likelihood(trace.request, other, executor, generator) for other in others)


def _likelihood(request: str, call: Call, executor: Executor, generator: Generator) -> float:
    tool = executor.registry.get(call.name)
    return generator.likelihood(few_shots.request_prompt(tool, call), f" {request}") if tool else 0.0


def _fitted(tool: Tool, values: Iterable[JsonValue], executor: Executor) -> Call | None:
    """A call of ``tool`` whose required parameters each get the first of ``values`` that fits and is not taken yet."""
    schema: dict[str, Any] = tool.parameters
    properties = schema.get("properties") or {}
    free, arguments = list(values), dict[str, JsonValue]()
    for name in schema.get("required") or ():
        fits = Draft202012Validator(properties.get(name, {})).is_valid
        place = next((n for n, value in enumerate(free) if fits(value)), None)
        if place is None:
            return None
        arguments[name] = free.pop(place)
    if not arguments or executor.problem(tool, arguments) is not None:
        return None
    return Call(name=tool.name, arguments=arguments)
