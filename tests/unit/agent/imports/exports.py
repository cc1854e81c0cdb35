"""One turn in the forms of each export: a call of ``weather`` with its result and an answer."""

import json
from typing import Any

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "weather", "description": "Weather now.", "parameters": PARAMETERS}}
ASKED = {"role": "user", "content": "Is it raining in Oslo?"}
ARGUMENTS = '{"city": "Oslo"}'


def call_message(identity: str = "call-1") -> dict[str, Any]:
    function = {"name": "weather", "arguments": ARGUMENTS}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": identity, "type": "function", "function": function}],
    }


def result_message(identity: str = "call-1") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": identity, "content": '{"rain": true}'}


ANSWER = {"role": "assistant", "content": "Yes, take an umbrella."}
STEPS = [ASKED, call_message(), result_message()]


def openai(messages: list[dict[str, Any]], reply: dict[str, Any], identity: str = "chatcmpl-1") -> dict[str, Any]:
    finish = "tool_calls" if reply.get("tool_calls") else "stop"
    return {
        "request": {"model": "gpt-x", "messages": messages, "tools": [TOOL], "temperature": 0.5},
        "response": {
            "id": identity,
            "model": "gpt-x-2026",
            "choices": [{"index": 0, "message": reply, "finish_reason": finish}],
            "usage": {"prompt_tokens": 11, "completion_tokens": 7},
        },
    }


def finetuning(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"messages": list(messages), "tools": [TOOL]}


def langfuse(messages: list[dict[str, Any]], reply: dict[str, Any], identity: str = "obs-1") -> dict[str, Any]:
    """A row of the blob storage export, where payloads are texts."""
    return {
        "id": identity,
        "trace_id": "trace-1",
        "session_id": "talk-7",
        "type": "GENERATION",
        "level": "DEFAULT",
        "input": json.dumps({"messages": messages, "tools": [TOOL]}),
        "output": json.dumps(reply),
        "provided_model_name": "gpt-x",
        "model_parameters": '{"temperature": 0.5}',
        "usage_details": {"input": 11, "output": 7},
        "latency": 1.5,
    }


def attribute(key: str, value: Any) -> dict[str, Any]:
    kind = "intValue" if isinstance(value, int) else "stringValue"
    return {"key": key, "value": {kind: str(value)}}


def otel(messages: list[dict[str, Any]], reply: dict[str, Any], identity: str = "a1", **more: Any) -> dict[str, Any]:
    """A line of the Collector's file exporter with one span; ``messages`` and ``reply`` in the form of its parts."""
    values = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-x",
        "gen_ai.conversation.id": "talk-7",
        "gen_ai.input.messages": json.dumps(messages),
        "gen_ai.output.messages": json.dumps([reply]),
        "gen_ai.tool.definitions": json.dumps([{"type": "function", **TOOL["function"]}]),
        "gen_ai.usage.input_tokens": 11,
        **more,
    }
    span = {
        "traceId": "t1",
        "spanId": identity,
        "startTimeUnixNano": "1000000000",
        "endTimeUnixNano": "2500000000",
        "attributes": [attribute(key, value) for key, value in values.items() if value is not None],
    }
    return {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}


PARTS = [
    {"role": "user", "parts": [{"type": "text", "content": "Is it raining in Oslo?"}]},
    {
        "role": "assistant",
        "parts": [{"type": "tool_call", "id": "call-1", "name": "weather", "arguments": {"city": "Oslo"}}],
    },
    {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call-1", "response": {"rain": True}}]},
]
SPOKEN = {
    "role": "assistant",
    "parts": [{"type": "text", "content": "Yes, take an umbrella."}],
    "finish_reason": "stop",
}


def as_lines(*lines: Any) -> bytes:
    return b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines)


FIRST = openai([ASKED], call_message(), "chatcmpl-1")
SECOND = openai(STEPS, ANSWER, "chatcmpl-2")
