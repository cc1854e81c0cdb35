"""The calls of several tools in one answer: each part of a request is asked with its tool, and all calls are joined."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from agent.serving.gateway.proxy import Told

Completion = dict[str, Any]

_STREAMING = ("stream", "stream_options")
_USAGE = ("prompt_tokens", "completion_tokens", "total_tokens")


def allowed(body: dict[str, Any]) -> bool:
    """Return whether the answer to a chat request may be put together from several. Pictures belong to all of it."""
    content = body["messages"][-1].get("content")
    if isinstance(content, list) and any(part.get("type") != "text" for part in content):
        return False
    alone = body.get("parallel_tool_calls") is not False and body.get("n", 1) == 1
    return alone and not body.get("logprobs") and not body.get("prompt_logprobs")


def part_of(body: dict[str, Any], text: str) -> dict[str, Any]:
    """Return ``body`` with ``text`` as the request of the person."""
    *before, last = body["messages"]
    return {**body, "messages": [*before, {**last, "content": text}]}


async def together(
    bodies: Sequence[dict[str, Any]], ask: Callable[[dict[str, Any]], Awaitable[Told | None]]
) -> Completion | None:
    """Ask for all ``bodies`` at once, and return one chat completion with the calls of all answers, in their order; the
    first answer where none has a call. None where a server gave no answer to one of them."""
    whole = [{name: value for name, value in body.items() if name not in _STREAMING} for body in bodies]
    answers = await asyncio.gather(*map(ask, whole))
    try:
        return _merged([json.loads(told.content) for told in answers if told is not None and told.status == 200], whole)
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def as_sent(answer: Completion, body: dict[str, Any]) -> bytes:
    """Return the bytes of ``answer`` in the form that the request ``body`` asks for, whole or as an event stream."""
    if not body.get("stream"):
        return json.dumps(answer).encode()
    usage = bool((body.get("stream_options") or {}).get("include_usage"))
    events = [json.dumps(chunk) for chunk in _chunks(answer, usage=usage)]
    return "".join(f"data: {event}\n\n" for event in (*events, "[DONE]")).encode()


def _merged(answers: Sequence[Completion], asked: Sequence[dict[str, Any]]) -> Completion | None:
    if len(answers) < len(asked):
        return None
    choices = [answer["choices"][0] for answer in answers]
    calling = [choice for choice in choices if choice["message"].get("tool_calls")]
    if not calling:
        return answers[0]
    calls = [call for choice in calling for call in choice["message"]["tool_calls"]]
    reasons = {choice["finish_reason"] for choice in calling}
    choice = {
        **calling[0],
        "message": {**calling[0]["message"], "tool_calls": calls},
        "finish_reason": "length" if "length" in reasons else calling[0]["finish_reason"],
    }
    usage = {name: sum((answer.get("usage") or {}).get(name) or 0 for answer in answers) for name in _USAGE}
    return {**answers[0], "choices": [choice], "usage": usage}


def _chunks(answer: Completion, *, usage: bool) -> Iterator[dict[str, Any]]:
    head = {name: answer[name] for name in ("id", "created", "model") if name in answer}
    head["object"] = "chat.completion.chunk"
    choice = answer["choices"][0]
    message = choice["message"]
    calls = [{"index": number, **call} for number, call in enumerate(message.get("tool_calls") or ())]
    delta = {"role": "assistant", "content": message.get("content") or "", **({"tool_calls": calls} if calls else {})}
    yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]}
    if usage:
        yield {**head, "choices": [], "usage": answer["usage"]}
