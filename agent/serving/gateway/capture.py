"""What an outside client asked and what it got, as the Trajectory that is logged.

Such clients run their own tools: calls and results are recognised in the messages that they send.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from agent.errors import ModelError
from agent.messages import Message, Sampling, Trajectory, Usage
from agent.model_client import ADAPTER_HEADER, ADAPTER_SHA256_HEADER, ModelReply, ReplyBuilder, parse_call, reply_of
from agent.prompt import PROMPT_VERSION
from agent.serving import text_calls
from toolkit.tool import ToolError, ToolErrorKind, ToolResult

_ERROR = re.compile(r"\s*(error\b|an error occurred|exception\b|traceback \(most recent)", re.IGNORECASE)
"""How agent frameworks, and apprentice's own loop, begin the result of a tool that failed."""
_LONGEST_MESSAGE = 2000
_UNNAMED = "~"
"""No session of `agent chat` begins so."""
_REFERENCE = re.compile(rb'"id"\s*:\s*"([^"\\]{1,200})"')


@dataclass(frozen=True)
class Exchange:
    """A request and the bytes that answered it. ``chat`` False: a plain completion of a text.

    ``owner`` and ``tenant`` are those of the API key ("" without one).
    """

    request: dict[str, Any]
    response: bytes
    adapter: str
    adapter_sha256: str
    session: str
    latency_ms: float
    chat: bool = True
    owner: str = ""
    tenant: str = ""

    @property
    def reference(self) -> str:
        """The ``id`` in the answer: by it the client names the interaction."""
        found = _REFERENCE.search(self.response)
        return found[1].decode("utf-8", "replace") if found else ""


def to_trajectory(exchange: Exchange) -> Trajectory:
    """Raises ModelError when the response is no complete reply, ValueError when the request is no conversation."""
    if not exchange.chat:
        return _completion(exchange)
    reply = _reply(exchange)
    try:
        messages = _messages(text_calls.as_messages(exchange.request["messages"]))
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


def conversation(messages: object) -> str:
    """A name for the session of a client that names none: drawn from how the conversation began; "" for none."""
    if not isinstance(messages, list):
        return ""
    opening: list[object] = []
    for message in messages:
        opening.append(message)
        if isinstance(message, dict) and message.get("role") == "user":
            text = json.dumps(opening, sort_keys=True)
            return f"{_UNNAMED}{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return ""


def tool_schemas(exchange: Exchange) -> list[dict[str, Any]]:
    """The tools of the request, as the client wrote them."""
    return list(exchange.request.get("tools") or ()) if exchange.chat else []


def latest_results(messages: object) -> list[str]:
    """The texts of the tool results at the end of a request's messages: those that it brings for the first time."""
    found: list[str] = []
    if isinstance(messages, list):
        for message in reversed(messages):
            if not isinstance(message, dict) or message.get("role") != "tool":
                break
            try:
                found.append(_text(message.get("content")))
            except (TypeError, AttributeError):
                found.append("")
        told = None if found else text_calls.latest_result(messages)
        if told is not None:
            found.append(told)
    return found[::-1]


def is_tool_error(text: str) -> bool:
    """Whether a tool's result says that the tool failed."""
    return _ERROR.match(text) is not None


def _completion(exchange: Exchange) -> Trajectory:
    """A text and its continuation, as one question and one answer."""
    text, finish_reason, usage = "", None, {}
    try:
        for body in _bodies(exchange):
            usage = body.get("usage") or usage
            for choice in body["choices"]:
                if choice.get("index", 0) == 0:
                    text += choice.get("text") or ""
                    finish_reason = choice.get("finish_reason") or finish_reason
        prompt = exchange.request["prompt"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"no completion: {error!r}") from error
    if finish_reason is None:
        raise ModelError("the answer ended in the middle")
    question = prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False)
    return Trajectory(
        messages=(Message(role="user", content=question), Message(role="assistant", content=text)),
        tools=(),
        adapter=exchange.adapter,
        adapter_sha256=exchange.adapter_sha256,
        prompt_version=PROMPT_VERSION,
        sampling=_sampling(exchange.request),
        usage=Usage(
            prompt_tokens=usage.get("prompt_tokens") or 0, completion_tokens=usage.get("completion_tokens") or 0
        ),
        stop_reason="token_limit" if finish_reason == "length" else "answered",
        latency_ms=exchange.latency_ms,
    )


def _bodies(exchange: Exchange) -> Iterator[dict[str, Any]]:
    if not exchange.request.get("stream"):
        yield json.loads(exchange.response)
        return
    for line in exchange.response.decode("utf-8", "replace").split("\n"):
        if line.startswith("data:") and line[5:].strip() not in ("", "[DONE]"):
            yield json.loads(line[5:])


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
                result = None if call_id == text_calls.SEVERAL else _result(call_id, called, content)
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


def _result(call_id: str, called: dict[str, str], content: str) -> ToolResult:
    name = called.get(call_id, "")
    if is_tool_error(content):
        error = ToolError(kind=ToolErrorKind.TOOL_FAILED, message=content[:_LONGEST_MESSAGE])
        return ToolResult(call_id=call_id, name=name, error=error)
    return ToolResult(call_id=call_id, name=name, value=_value(content))


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
