"""An exchange with an outside client, as the Trajectory that is logged.

Such clients run their own tools: calls and results are recognised in the messages that they send.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agent.errors import ModelError
from agent.serving.gateway import history, smolagents_format
from agent.serving.gateway.history import text_of
from agent.serving.gateway.turn_affinity import Owner, turn_key
from agent.turn.choice import ToolChoice
from agent.turn.messages import Message, Sampling, Trajectory, Usage
from agent.turn.model_client import ADAPTER_HEADER, ADAPTER_SHA256_HEADER, ModelReply, ReplyBuilder, reply_of
from agent.turn.prompt import PROMPT_VERSION

UNNAMED = "~"
"""No session of `agent chat` begins so."""
TRACE_HEADER = "traceparent"
_REFERENCE = re.compile(rb'"id"\s*:\s*"([^"\\]{1,200})"')


@dataclass(frozen=True)
class Exchange:
    """A request and the bytes that answered it. ``chat`` False: a plain completion of a text. ``prompt_version``:
    ``ModelProfile.version``.

    ``owner`` and ``tenant`` are those of the API key ("" without one), ``traceparent`` names the client's span.
    """

    request: dict[str, Any]
    response: bytes
    adapter: str
    adapter_sha256: str
    session: str
    latency_ms: float
    chat: bool = True
    prompt_version: str = PROMPT_VERSION
    owner: str = ""
    tenant: str = ""
    traceparent: str = ""
    choice: ToolChoice | None = None

    @property
    def streamed(self) -> bool:
        """Return whether the answer is an event stream; a server may answer whole where a stream was asked for."""
        return not self.response.lstrip().startswith(b"{")

    @property
    def whose(self) -> Owner:
        """The owner of the turn."""
        return Owner(self.tenant, self.owner)

    @property
    def turn(self) -> str:
        """The key of the turn that the request belongs to; "" for a completion."""
        return turn_key(self.owner, self.request["messages"]) if self.chat else ""

    @property
    def reference(self) -> str:
        """The ``id`` in the answer: by it the client names the interaction."""
        found = _REFERENCE.search(self.response)
        return found[1].decode("utf-8", "replace") if found else ""


def to_trajectory(exchange: Exchange) -> Trajectory:
    """Convert an exchange to the trajectory that is logged.

    Raises ModelError when the response is no complete reply, ValueError when the request is no conversation.
    """
    if not exchange.chat:
        return _completion(exchange)
    reply = _reply(exchange)
    try:
        messages = history.as_messages(smolagents_format.as_messages(exchange.request["messages"]))
        tools = tuple(tool["function"]["name"] for tool in tool_schemas(exchange))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no conversation: {error!r}") from error
    users = [n for n, message in enumerate(messages) if message.role == "user"]
    start = users[-1] if users else 0
    answer = history.with_distinct_ids(reply.message, [call.id for message in messages for call in message.tool_calls])
    return Trajectory(
        history=messages[:start],
        messages=(*messages[start:], answer),
        tools=tools,
        adapter=exchange.adapter,
        adapter_sha256=exchange.adapter_sha256,
        prompt_version=exchange.prompt_version,
        sampling=_sampling(exchange.request),
        usage=reply.usage,
        stop_reason="token_limit" if reply.finish_reason == "length" else "answered",
        latency_ms=exchange.latency_ms,
        choice=exchange.choice,
    )


def conversation(messages: object) -> str:
    """Return a name for the session of a client that gives none, a hash of how the conversation began; "" for none."""
    if not isinstance(messages, list):
        return ""
    opening: list[object] = []
    for message in messages:
        opening.append(message)
        if isinstance(message, dict) and message.get("role") == "user":
            text = json.dumps(opening, sort_keys=True)
            return f"{UNNAMED}{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return ""


def tool_schemas(exchange: Exchange) -> list[dict[str, Any]]:
    """Return the tools of the request, as the model saw them."""
    return list(exchange.request.get("tools") or ()) if exchange.chat else []


def latest_results(messages: object) -> list[str]:
    """Return the texts of the tool results that a request brings for the first time: those at its end."""
    found: list[str] = []
    if isinstance(messages, list):
        for message in reversed(messages):
            if not isinstance(message, dict) or message.get("role") != "tool":
                break
            try:
                found.append(text_of(message.get("content")))
            except (TypeError, AttributeError):
                found.append("")
        told = None if found else smolagents_format.latest_result(messages)
        if told is not None:
            found.append(told)
    return found[::-1]


def _completion(exchange: Exchange) -> Trajectory:
    """Return a text and its continuation as one question and one answer."""
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
        prompt_version=exchange.prompt_version,
        sampling=_sampling(exchange.request),
        usage=Usage(
            prompt_tokens=usage.get("prompt_tokens") or 0, completion_tokens=usage.get("completion_tokens") or 0
        ),
        stop_reason="token_limit" if finish_reason == "length" else "answered",
        latency_ms=exchange.latency_ms,
    )


def _bodies(exchange: Exchange) -> Iterator[dict[str, Any]]:
    if not exchange.streamed:
        yield json.loads(exchange.response)
        return
    for line in exchange.response.decode("utf-8", "replace").split("\n"):
        if line.startswith("data:") and line[5:].strip() not in ("", "[DONE]"):
            yield json.loads(line[5:])


def _reply(exchange: Exchange) -> ModelReply:
    headers = {ADAPTER_HEADER: exchange.adapter, ADAPTER_SHA256_HEADER: exchange.adapter_sha256}
    if exchange.streamed:
        builder = ReplyBuilder()
        for line in exchange.response.decode("utf-8", "replace").split("\n"):
            builder.add(line)
        return builder.reply(headers)
    try:
        return reply_of(json.loads(exchange.response), headers)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ModelError(f"no chat completion: {error!r}") from error


def _sampling(request: dict[str, Any]) -> Sampling:
    return Sampling(
        temperature=_given(request.get("temperature"), 1.0),
        top_p=_given(request.get("top_p"), 1.0),
        max_tokens=request.get("max_completion_tokens") or request.get("max_tokens") or 0,
        seed=request.get("seed"),
    )


def _given(value: float | None, default: float) -> float:
    return default if value is None else value
