"""OpenTelemetry's GenAI spans, as the OTLP JSON that the Collector's file exporter writes: one export per line.

Read are the attributes of the semantic conventions 1.37 and later: ``gen_ai.input.messages``,
``gen_ai.output.messages``, ``gen_ai.system_instructions`` and ``gen_ai.tool.definitions``, as JSON texts or as
structured values. Earlier versions put messages into events, which are not read.
"""

from collections.abc import Iterator
from typing import Any

from agent.imports.record import (
    ImportReason,
    Read,
    Record,
    Records,
    as_dict,
    as_text,
    call_of,
    parsed,
    text,
    tool_of,
    whole_number,
)

_CHAT = ("chat", "generate_content")
_STATUS_ERROR = (2, "STATUS_CODE_ERROR")
_FINISH = {"tool_call": "tool_calls", "length": "length"}
_NANOSECONDS = 1e6


def spans(line: dict[str, Any]) -> Records:
    """Yield the exchanges of an export."""
    for resource in _list(line.get("resourceSpans")):
        for scope in _list(as_dict(resource).get("scopeSpans")):
            for span in _list(as_dict(scope).get("spans")):
                yield _span(as_dict(span))


def _span(span: dict[str, Any]) -> Read:
    values = _values(span.get("attributes"))
    if values.get("gen_ai.operation.name") not in _CHAT:
        return ImportReason.NOT_A_MODEL_CALL
    if values.get("error.type") or as_dict(span.get("status")).get("code") in _STATUS_ERROR:
        return ImportReason.FAILED
    given, came = parsed(values.get("gen_ai.input.messages")), parsed(values.get("gen_ai.output.messages"))
    if not isinstance(given, list):
        return ImportReason.NO_MESSAGES
    replies = list(_messages(came)) if isinstance(came, list) else []
    if not replies:
        return ImportReason.NO_ANSWER
    start, end = (whole_number(span.get(name)) for name in ("startTimeUnixNano", "endTimeUnixNano"))
    trace, finish = text(span.get("traceId")), text(as_dict(came[0]).get("finish_reason"))
    return Record(
        form="otel",
        request=_request(given, values),
        reply={**replies[0], "role": "assistant"},
        finish_reason=_FINISH.get(finish, "stop"),
        identity=f"{trace}/{text(span.get('spanId'))}",
        session=text(values.get("gen_ai.conversation.id")) or trace,
        model=text(values.get("gen_ai.response.model")) or text(values.get("gen_ai.request.model")),
        usage={
            "prompt_tokens": whole_number(values.get("gen_ai.usage.input_tokens")),
            "completion_tokens": whole_number(values.get("gen_ai.usage.output_tokens")),
        },
        latency_ms=(end - start) / _NANOSECONDS,
    )


def _request(given: list[Any], values: dict[str, Any]) -> dict[str, Any]:
    told = _list(parsed(values.get("gen_ai.system_instructions")))
    system = [{"role": "system", "content": _said(told)}] if told else []
    tools = [tool_of(tool) for tool in _list(parsed(values.get("gen_ai.tool.definitions")))]
    settings = {
        name: values[f"gen_ai.request.{name}"]
        for name in ("temperature", "top_p", "max_tokens")
        if isinstance(values.get(f"gen_ai.request.{name}"), int | float)
    }
    return {"messages": [*system, *_messages(given)], **({"tools": tools} if tools else {}), **settings}


def _messages(given: list[Any]) -> Iterator[dict[str, Any]]:
    """Yield messages in OpenAI's form; each result of a tool is one of its own there."""
    for message in map(as_dict, given):
        parts = [as_dict(part) for part in _list(message.get("parts"))]
        results = [part for part in parts if part.get("type") == "tool_call_response"]
        for part in results:
            content = as_text(part.get("response", part.get("result")))
            yield {"role": "tool", "tool_call_id": text(part.get("id")), "content": content}
        calls = [call_of(part) for part in parts if part.get("type") == "tool_call"]
        said = _said(parts)
        if said or calls or not results:
            yield {"role": message.get("role"), "content": said, **({"tool_calls": calls} if calls else {})}


def _said(parts: list[Any]) -> str:
    return "\n".join(text(part.get("content")) for part in map(as_dict, parts) if part.get("type") == "text")


def _values(given: Any) -> dict[str, Any]:
    """Return the values of a list of attributes by their keys."""
    return {text(one.get("key")): _value(one.get("value")) for one in map(as_dict, _list(given))}


def _value(value: Any) -> Any:
    """Return the value of an attribute in OTLP JSON, where whole numbers are texts."""
    for kind, item in as_dict(value).items():
        match kind:
            case "intValue":
                return whole_number(item)
            case "arrayValue":
                return [_value(one) for one in _list(as_dict(item).get("values"))]
            case "kvlistValue":
                return _values(as_dict(item).get("values"))
            case _:
                return item
    return None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
