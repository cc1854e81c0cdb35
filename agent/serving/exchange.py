"""What an outside client asked and what it got, as the Trajectory that is logged.

Such clients run their own tools: calls and results are recognised in the messages that they send.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agent.errors import ModelError
from agent.messages import Message, Sampling, Trajectory
from agent.model_client import ADAPTER_HEADER, ADAPTER_SHA256_HEADER, ModelReply, ReplyBuilder, parse_call, reply_of
from agent.prompt import PROMPT_VERSION
from toolkit.tool import ToolResult


@dataclass(frozen=True)
class Exchange:
    """A chat request and the bytes that answered it."""

    request: dict[str, Any]
    response: bytes
    adapter: str
    adapter_sha256: str
    session: str
    latency_ms: float


def to_trajectory(exchange: Exchange) -> Trajectory:
    """Raises ModelError when the response is no complete reply, ValueError when the request is no conversation."""
    reply = _reply(exchange)
    try:
        messages = _messages(exchange.request["messages"])
        tools = tuple(tool["function"]["name"] for tool in tool_schemas(exchange))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no conversation: {error!r}") from error
    users = [n for n, message in enumerate(messages) if message.role == "user"]
    start = users[-1] if users else 0
    return Trajectory(
        history=messages[:start],
        messages=(*messages[start:], reply.message),
        tools=tools,
        adapter=exchange.adapter,
        adapter_sha256=exchange.adapter_sha256,
        prompt_version=PROMPT_VERSION,
        sampling=_sampling(exchange.request),
        usage=reply.usage,
        stop_reason="token_limit" if reply.finish_reason == "length" else "answered",
        latency_ms=exchange.latency_ms,
    )


def tool_schemas(exchange: Exchange) -> list[dict[str, Any]]:
    """The tools of the request, as the client wrote them."""
    return list(exchange.request.get("tools") or ())


def _reply(exchange: Exchange) -> ModelReply:
    headers = {ADAPTER_HEADER: exchange.adapter, ADAPTER_SHA256_HEADER: exchange.adapter_sha256}
    if exchange.request.get("stream"):
        builder = ReplyBuilder()
        for line in exchange.response.decode("utf-8", "replace").split("\n"):
            builder.add(line)
        return builder.reply(headers)
    try:
        return reply_of(json.loads(exchange.response), headers)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ModelError(f"no chat completion: {error!r}") from error


def _messages(messages: Sequence[dict[str, Any]]) -> tuple[Message, ...]:
    called: dict[str, str] = {}
    found: list[Message] = []
    for message in messages:
        content = _text(message.get("content"))
        match message["role"]:
            case "tool":
                call_id = message.get("tool_call_id") or ""
                result = ToolResult(call_id=call_id, name=called.get(call_id, ""), value=_value(content))
                found.append(Message(role="tool", content=content, tool_result=result))
            case "assistant":
                calls = tuple(
                    parse_call(call["id"], call["function"]["name"], call["function"]["arguments"])
                    for call in message.get("tool_calls") or ()
                )
                called |= {call.id: call.name for call in calls}
                found.append(Message(role="assistant", content=content, tool_calls=calls))
            case "system" | "developer":
                found.append(Message(role="system", content=content))
            case _:
                found.append(Message(role="user", content=content))
    return tuple(found)


def _text(content: str | list[dict[str, Any]] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part.get("text") or f"[{part.get('type')}]" for part in content)


def _value(content: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content


def _sampling(request: dict[str, Any]) -> Sampling:
    return Sampling(
        temperature=_given(request.get("temperature"), 1.0),
        top_p=_given(request.get("top_p"), 1.0),
        max_tokens=request.get("max_completion_tokens") or request.get("max_tokens") or 0,
        seed=request.get("seed"),
    )


def _given(value: float | None, default: float) -> float:
    return default if value is None else value
