"""Checks of a lesson's request, whoever made it: a plain sentence that states what its calls need. Pure."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import JsonValue

from agent.text.flags import speaks_of_flag
from agent.text.matching import numbers, readings, states
from evolver.lessons import client_turn
from evolver.lessons.client_tools import tools_of
from evolver.lessons.drop_reason import DropReason
from evolver.types import Call, Trace
from toolkit.search import ToolIndex
from toolkit.tool import Effect, Tool, ToolErrorKind, ToolResult

LONGEST = 300
"""Characters of a request, and of a result."""

_FITTING = 3
"""A request must be found to speak of its tool among so many."""
_MARKERS = ("<tool", "</tool", "<|im_", "{", "}", "_")
"""Signs of a text that is no plain sentence."""
_ENDS = re.compile(r"[.?!\"')]$|\w$")
_SHORTEST = 8


def wording(trace: Trace) -> DropReason | None:
    """Return the reason to reject the wording of the request, or None."""
    request = trace.request
    if trace.client_turn is not None and trace.lived:
        return client_turn.wording(trace)
    if not _SHORTEST <= len(request) <= LONGEST or not _ENDS.search(request):
        return DropReason.NO_SENTENCE
    if "  " in request or any(marker in request for marker in _MARKERS):
        return DropReason.NO_PLAIN_WORDING
    return None


def grounding(trace: Trace) -> DropReason | None:
    """Return the reason for which the calls do not follow from the request and the messages before it, or None."""
    if not trace.calls:
        may_need = trace.client_turn is None and numbers(trace.request)
        return DropReason.MAY_NEED_A_TOOL if may_need else None
    values = [value for call in trace.calls for value in call.arguments.values()]
    if not _all_stated(trace):
        return DropReason.ARGUMENT_NOT_STATED
    if not trace.lived and any(_misses_a_flag(trace.request, call) for call in trace.calls):
        return DropReason.FLAG_NOT_STATED
    if any(_has_like_arguments(call) for call in trace.calls):
        return DropReason.ARGUMENTS_ARE_ALIKE
    stated = {number for value in values for number in _numbers_in(value)}
    if any(stated.isdisjoint(meanings) for meanings in readings(trace.request)):
        return DropReason.STATES_ANOTHER_NUMBER
    return DropReason.TELLS_THE_RESULT if _tells_result(trace) else None


def relevance(trace: Trace, index: ToolIndex) -> DropReason | None:
    """Return SPEAKS_OF_ANOTHER_TOOL where ``index`` finds other tools than those called, or None.

    Such a request asks for something else than its call does.
    """
    if not trace.calls:
        return None
    fitting = {tool.name for tool in index.top(trace.request, _FITTING)}
    # What a client's later calls are for may stand in results only.
    enough = any if trace.client_turn is not None else all
    return None if enough(call.name in fitting for call in trace.calls) else DropReason.SPEAKS_OF_ANOTHER_TOOL


def options(trace: Trace, tool_named: Callable[[str], Tool | None]) -> DropReason | None:
    """Return LEAVES_OUT_WHAT_IS_ASKED where the request names a choice that a call leaves out, or None.

    Such a lesson teaches to pass over what people ask for.
    """
    for call in trace.calls:
        tool = tool_named(call.name)
        properties: Any = tool.parameters.get("properties", {}) if tool else {}
        for name, field in properties.items():
            if name in call.arguments or not isinstance(field, dict):
                continue
            chosen = any(isinstance(choice, str) and states(trace.request, choice) for choice in field.get("enum", ()))
            if chosen or (field.get("type") == "boolean" and speaks_of_flag(trace.request, name)):
                return DropReason.LEAVES_OUT_WHAT_IS_ASKED
    return None


def mistakable(tool: Tool, call: Call) -> bool:
    """Return whether one value that a request states could be taken for another parameter's: two numbers, two free
    texts, two lists. Where none could, stating them all leaves one call only."""
    properties: Any = tool.parameters.get("properties", {})
    kinds: Counter[type] = Counter()
    for name, value in call.arguments.items():
        if isinstance(value, bool) or value is None or "enum" in properties.get(name, {}):
            continue
        kinds[float if isinstance(value, int) else type(value)] += 1
    return any(count > 1 for count in kinds.values())


def worked(tool: Tool, result: ToolResult) -> bool:
    """Return whether a call did what it could.

    A failure of somebody's own tool that keeps state is forgiven: its workspace starts empty, so that there is nothing
    to find. Built-in tools begin with shipped data, and functions of Python modules count as writing because nobody
    said what they do: their failures are real. So are those of tools that say what can be found (``Tool.known``).
    """
    if result.error is None:
        return True
    begins_empty = not tool.known and not tool.source.startswith(("builtin", "python:"))
    keeps_state = tool.sandbox_state and tool.effect is Effect.WRITES
    return keeps_state and begins_empty and result.error.kind is ToolErrorKind.TOOL_FAILED


def _all_stated(trace: Trace) -> bool:
    if trace.client_turn is not None:
        return client_turn.all_stated(trace, trace.client_turn, tools_of(trace))
    known = "\n".join([*(message.content for message in trace.history), trace.request])
    return all(states(known, value) for value in _own_values(trace))


def _own_values(trace: Trace) -> Iterator[JsonValue]:
    """The arguments that no result before their call gives: the request must."""
    for place, call in enumerate(trace.calls):
        known = trace.results[:place] if trace.sequential else ()
        yield from (value for value in call.arguments.values() if value not in known)


def _misses_a_flag(request: str, call: Call) -> bool:
    """Return whether the request lacks the words of a flag. For makers: a person may have asked in any words."""
    flags = ((name, value) for name, value in call.arguments.items() if isinstance(value, bool))
    return any(value != speaks_of_flag(request, name) for name, value in flags)


def _has_like_arguments(call: Call) -> bool:
    values = [repr(value) for value in call.arguments.values() if not isinstance(value, bool)]
    return len(set(values)) < len(values)


def _numbers_in(value: JsonValue) -> list[float]:
    return numbers(json.dumps(value, ensure_ascii=False)) if not isinstance(value, str) else numbers(value)


def _tells_result(trace: Trace) -> bool:
    """A request that already holds the answer asks nothing."""
    for result in trace.results:
        if isinstance(result, str) and len(result) > 3 and states(trace.request, result):
            return not any(states(json.dumps(call.arguments, ensure_ascii=False), result) for call in trace.calls)
    return False
