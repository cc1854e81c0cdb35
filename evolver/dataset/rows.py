"""A trace and the tools that are shown with it -> a row of a dataset: messages, and which of them carry loss. Pure."""

from collections.abc import Sequence
from typing import Any

from agent.text.matching import states
from agent.turn.messages import Message
from agent.turn.prompt import to_openai
from evolver.types import Trace
from toolkit.tool import Tool, ToolCall, ToolResult, render_result

NO_TOOL = "I have no tool for that."
"""The one way to decline: a small model that must choose among several openings ends up calling instead (FunctionGemma
and our own first rounds; docs/decisions/0004)."""

Row = dict[str, Any]


def call_row(identity: str, trace: Trace, tools: Sequence[Tool]) -> Row:
    calls = [ToolCall(id=f"call-{n}", name=c.name, arguments=c.arguments) for n, c in enumerate(trace.calls)]
    results = [
        ToolResult(call_id=call.id, name=call.name, value=value)
        for call, value in zip(calls, trace.results, strict=False)
    ]
    steps = [([call], [result]) for call, result in zip(calls, results, strict=True)] if trace.sequential else []
    messages, targets = [Message(role="user", content=trace.request)], []
    for asked, came in steps or [(calls, results)]:
        targets.append(len(messages))
        messages.append(Message(role="assistant", tool_calls=tuple(asked)))
        messages += [Message(role="tool", content=render_result(result), tool_result=result) for result in came]
    last = results[-1:] if trace.sequential else results
    if trace.answer and all(_told(trace.answer, result) for result in last):
        targets.append(len(messages))
        messages.append(Message(role="assistant", content=trace.answer))
    else:
        messages = messages[: targets[-1] + 1]
    return _row(trace, identity, messages, tools, targets, "call")


def repaired_row(identity: str, trace: Trace, tools: Sequence[Tool]) -> Row:
    """Build the row of a repaired call: the failed call, its error, then the call that worked, which alone is learned.
    No decision: it calls in either case."""
    messages = [Message(role="user", content=trace.request)]
    for n, failure in enumerate(trace.failures):
        call = ToolCall(id=f"failed-{n}", **failure.call.model_dump())
        result = ToolResult(call_id=call.id, name=call.name, error=failure.error)
        messages.append(Message(role="assistant", tool_calls=(call,)))
        messages.append(Message(role="tool", content=render_result(result), tool_result=result))
    calls = [ToolCall(id=f"call-{n}", **call.model_dump()) for n, call in enumerate(trace.calls)]
    calls = calls[:1] if trace.sequential else calls
    messages.append(Message(role="assistant", tool_calls=tuple(calls)))
    return _row(trace, identity, messages, tools, [len(messages) - 1], None)


def _told(answer: str, result: ToolResult) -> bool:
    """Return whether ``answer`` states the result; yes and no stand for booleans."""
    if isinstance(result.value, bool):
        return answer.lower().startswith("yes" if result.value else "no")
    return result.value is not None and states(answer, result.value)


def declined_row(identity: str, trace: Trace, tools: Sequence[Tool], *, decision: str | None = None) -> Row:
    """Give it a ``decision`` only where none of ``tools`` nearly fits: serving seldom hides a tool, and a bias fitted
    on such rows makes the model shy."""
    messages = [Message(role="user", content=trace.request), Message(role="assistant", content=NO_TOOL)]
    return _row(trace, identity, messages, tools, [1], decision)


def candidate_row(identity: str, trace: Trace, tool: Tool, decision: str, candidate: tuple[str, float]) -> Row:
    """Build a row that asks whether ``tool`` alone makes the model call. ``candidate``: the request, and the tool's
    points in the search."""
    return declined_row(identity, trace, [tool], decision=decision) | {"candidate": candidate}


def spoken_row(identity: str, trace: Trace, tools: Sequence[Tool]) -> Row:
    messages = [Message(role="user", content=trace.request), Message(role="assistant", content=trace.answer)]
    return _row(trace, identity, messages, tools, [1], "no_call") | {"open_end": trace.open_end}


def _row(
    trace: Trace,
    identity: str,
    messages: Sequence[Message],
    tools: Sequence[Tool],
    targets: list[int],
    decision: str | None,
) -> Row:
    places = [len(trace.history) + target for target in targets]
    schemas = [tool.schema() for tool in tools]
    return row_of(trace, identity, to_openai([*trace.history, *messages]), schemas, places, decision)


def row_of(
    trace: Trace,
    identity: str,
    messages: list[dict[str, Any]],
    schemas: Sequence[dict[str, Any]],
    targets: list[int],
    decision: str | None,
) -> Row:
    """Build the row of a whole conversation. ``targets`` are places in ``messages``, which are as OpenAI has them."""
    return {
        "id": identity,
        "messages": messages,
        "tools": list(schemas),
        "targets": targets,
        "decision": decision,
        "weight": 1.0,
        "trace": trace.id,
        "kind": trace.kind,
        "provenance": trace.provenance.model_dump(mode="json"),
    }
