"""Langfuse's exports: observations of the blob storage export, of the public API and of the tables, and whole traces.

Names of fields are read in both spellings (``trace_id``, ``traceId``). A generation is an exchange; other observations
are none.
"""

from typing import Any

from agent.imports.record import (
    ImportReason,
    Read,
    Record,
    Records,
    as_dict,
    call_of,
    message_of,
    number,
    parsed,
    text,
    tool_of,
    whole_number,
)

_GENERATION = "GENERATION"


def observations(line: dict[str, Any]) -> Records:
    """Yield the exchanges of an observation, of a trace with its ``observations``, or of a page of the API."""
    inner = line.get("observations", line.get("data"))
    if not isinstance(inner, list):
        yield _observation(line, "")
        return
    trace = as_dict(line.get("trace", line))
    session = _field(trace, "session_id", "sessionId")
    for one in inner:
        yield _observation(as_dict(one), text(session))


def is_observation(line: dict[str, Any]) -> bool:
    """Return whether an object is one that ``observations`` reads."""
    if isinstance(inner := line.get("observations", line.get("data")), list):
        return all(isinstance(one, dict) and ("traceId" in one or "trace_id" in one) for one in inner)
    return "type" in line and ("traceId" in line or "trace_id" in line)


def _observation(seen: dict[str, Any], session: str) -> Read:
    if seen.get("type") != _GENERATION:
        return ImportReason.NOT_A_MODEL_CALL
    if seen.get("level") == "ERROR":
        return ImportReason.FAILED
    given, came = parsed(seen.get("input")), parsed(seen.get("output"))
    if given in (None, "", {}, []):
        return ImportReason.NO_MESSAGES
    reply = _reply(came, seen)
    if reply is None:
        return ImportReason.NO_ANSWER
    trace = text(_field(seen, "trace_id", "traceId"))
    usage = as_dict(_field(seen, "usage_details", "usageDetails"))
    return Record(
        form="langfuse",
        request=_request(given, seen),
        reply=reply,
        identity=text(seen.get("id")),
        session=text(_field(seen, "session_id", "sessionId")) or session or trace,
        model=text(_field(seen, "provided_model_name", "providedModelName", "model")),
        usage={
            "prompt_tokens": whole_number(usage.get("input")),
            "completion_tokens": whole_number(usage.get("output")),
        },
        latency_ms=1000.0 * number(seen.get("latency")),
    )


def _request(given: Any, seen: dict[str, Any]) -> dict[str, Any]:
    inner = as_dict(given)
    messages = inner.get("messages", given)
    if not isinstance(messages, list):
        messages = [inner if "role" in inner else {"role": "user", "content": given}]
    tools = inner.get("tools") or inner.get("functions") or _field(seen, "tool_definitions", "toolDefinitions")
    settings = as_dict(parsed(_field(seen, "model_parameters", "modelParameters")))
    known = {name: parsed(settings[name]) for name in ("temperature", "top_p", "max_tokens") if settings.get(name)}
    known = {name: value for name, value in known.items() if isinstance(value, int | float)}
    return {"messages": [message_of(message) for message in messages], **_offered(parsed(tools)), **known}


def _offered(tools: Any) -> dict[str, Any]:
    """Return the tools of a list, or of an object that has them by their names."""
    if isinstance(tools, dict):
        tools = [{"name": name, **as_dict(parsed(tool))} for name, tool in tools.items()]
    return {"tools": [tool_of(tool) for tool in tools]} if isinstance(tools, list) and tools else {}


def _reply(came: Any, seen: dict[str, Any]) -> dict[str, Any] | None:
    """Return the assistant's message in an output: a message, a list or a completion that has one, or a text."""
    if isinstance(choices := as_dict(came).get("choices"), list) and choices:
        came = as_dict(choices[0]).get("message")
    if isinstance(came, list) and came:
        came = came[-1]
    if isinstance(came, str) and came:
        return {"role": "assistant", "content": came}
    if not isinstance(came, dict) or came.get("role", "assistant") not in ("assistant", "ai"):
        return None
    reply = message_of({**came, "role": "assistant"})
    calls = _field(seen, "tool_calls", "toolCalls")
    if not reply.get("tool_calls") and isinstance(calls, list) and calls:
        reply["tool_calls"] = [call_of(parsed(call)) for call in calls]
    return reply if reply.get("content") or reply.get("tool_calls") else None


def _field(values: dict[str, Any], *names: str) -> Any:
    return next((values[name] for name in names if values.get(name) is not None), None)
