"""What a lesson's request must be like, whoever made it: a plain sentence that states what its calls need. Pure."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import JsonValue

from evolver.flags import speaks_of_flag
from evolver.text import numbers, readings, states
from evolver.types import Call, Trace
from toolkit.search import ToolIndex
from toolkit.tool import Effect, Tool, ToolErrorKind, ToolResult

LONGEST = 300
"""Characters of a request, and of a result."""

_FITTING = 3
"""A request must be found to speak of its tool among so many."""
_MARKERS = ("<tool", "</tool", "<|im_", "{", "}", "_")
"""What betrays a text that is no plain sentence."""
_ENDS = re.compile(r"[.?!\"')]$|\w$")
_SHORTEST = 8


def wording(trace: Trace) -> str:
    """Why the request is unfit as a text, or ""."""
    request = trace.request
    if not _SHORTEST <= len(request) <= LONGEST or not _ENDS.search(request):
        return "no_sentence"
    if "  " in request or any(marker in request for marker in _MARKERS):
        return "no_plain_wording"
    return ""


def grounding(trace: Trace) -> str:
    """Why the calls do not follow from the request and what was said before it, or ""."""
    if not trace.calls:
        return "may_need_a_tool" if numbers(trace.request) else ""
    values = [value for call in trace.calls for value in call.arguments.values()]
    known = "\n".join([*(message.content for message in trace.history), trace.request])
    if not all(states(known, value) for value in _own_values(trace)):
        return "argument_not_stated"
    if not trace.lived and any(_misses_a_flag(trace.request, call) for call in trace.calls):
        return "flag_not_stated"
    if any(_has_like_arguments(call) for call in trace.calls):
        return "arguments_are_alike"
    stated = {number for value in values for number in _numbers_in(value)}
    if any(stated.isdisjoint(meanings) for meanings in readings(trace.request)):
        return "states_another_number"
    return "tells_the_result" if _tells_result(trace) else ""


def meaning(trace: Trace, index: ToolIndex) -> str:
    """A request that speaks more of other tools than of its own asks for something else than its call does."""
    if not trace.calls:
        return ""
    fitting = {tool.name for tool in index.top(trace.request, _FITTING)}
    return "" if all(call.name in fitting for call in trace.calls) else "speaks_of_another_tool"


def options(trace: Trace, tool_named: Callable[[str], Tool | None]) -> str:
    """A request that names a choice which the call leaves out teaches to pass over what people ask for."""
    for call in trace.calls:
        tool = tool_named(call.name)
        properties: Any = tool.parameters.get("properties", {}) if tool else {}
        for name, field in properties.items():
            if name in call.arguments or not isinstance(field, dict):
                continue
            chosen = any(isinstance(choice, str) and states(trace.request, choice) for choice in field.get("enum", ()))
            if chosen or (field.get("type") == "boolean" and speaks_of_flag(trace.request, name)):
                return "leaves_out_what_is_asked"
    return ""


def mistakable(tool: Tool, call: Call) -> bool:
    """Whether one value that a request states could be taken for another parameter's: two numbers, two free texts, two
    lists. Where none could, stating them all leaves one call only."""
    properties: Any = tool.parameters.get("properties", {})
    kinds: Counter[type] = Counter()
    for name, value in call.arguments.items():
        if isinstance(value, bool) or value is None or "enum" in properties.get(name, {}):
            continue
        kinds[float if isinstance(value, int) else type(value)] += 1
    return any(count > 1 for count in kinds.values())


def worked(tool: Tool, result: ToolResult) -> bool:
    """Whether a call did what it could. In a workspace that starts empty there is nothing to find, which is no fault of
    the call. Functions of Python modules count as writing because nobody said what they do: their failures are real."""
    if result.error is None:
        return True
    keeps_state = tool.sandbox_state and tool.effect is Effect.WRITES and not tool.source.startswith("python:")
    return keeps_state and result.error.kind is ToolErrorKind.TOOL_FAILED


def _own_values(trace: Trace) -> Iterator[JsonValue]:
    """The arguments that no result before their call gives: the request must."""
    for place, call in enumerate(trace.calls):
        known = trace.results[:place] if trace.sequential else ()
        yield from (value for value in call.arguments.values() if value not in known)


def _misses_a_flag(request: str, call: Call) -> bool:
    """For makers: a person may have asked in any words."""
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
