"""Answers in the form of Anthropic's Messages: blocks, and the events that build them.

Source: Anthropic's API reference and the types of its Python client.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from agent.http.http_error import HttpError
from agent.log.entries import MESSAGE_PREFIX
from agent.serving.gateway.dialects.translation import Event, written

_PING = written({"type": "ping"})
_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}
_FIELDS = ((re.compile(r"(tools\[\d+\])\.function\.parameters"), r"\1.input_schema"),)


def error_form(error: HttpError) -> dict[str, Any]:
    """Return the body that tells an error, with this protocol's names of the fields."""
    kind = _ERRORS.get(error.status) or ("invalid_request_error" if error.status < 500 else "api_error")
    message = error.message
    for pattern, name in _FIELDS:
        message = pattern.sub(name, message)
    return {"type": "error", "error": {"type": kind, "message": message}}


class MessageTelling:
    """Tells one answer."""

    def __init__(self) -> None:
        self._identity = self._model = ""
        self._blocks: list[dict[str, Any]] = []
        self._arguments: dict[int, str] = {}
        self._calls: dict[int, int] = {}
        self._open: int | None = None
        self._finish: str | None = None
        self._stopped_at: str | None = None
        self._usage: dict[str, Any] = {}
        self._ended = False

    def chunk(self, chunk: dict[str, Any]) -> Iterator[Event]:
        if not self._identity:
            self._identity, self._model = MESSAGE_PREFIX + str(chunk["id"]), chunk.get("model") or ""
            yield {"type": "message_start", "message": self._message()}
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk["choices"]:
            if choice.get("index"):
                continue
            self._finish = choice.get("finish_reason") or self._finish
            if isinstance(choice.get("stop_reason"), str):
                self._stopped_at = choice["stop_reason"]
            delta = choice.get("delta") or {}
            if delta.get("content"):
                yield from self._text(delta["content"])
            for part in delta.get("tool_calls") or ():
                yield from self._call(part)

    def at_work(self) -> bytes:
        return _PING

    def end(self) -> Iterator[Event]:
        if self._ended:
            return
        if self._finish is None:
            yield from self.broken(HttpError(500, "the answer ended in the middle"))
            return
        self._ended = True
        yield from self._close()
        stopped = {"stop_reason": self._stop_reason, "stop_sequence": self._stopped_at}
        yield {"type": "message_delta", "delta": stopped, "usage": self._used}
        yield {"type": "message_stop"}

    def broken(self, error: HttpError) -> Iterator[Event]:
        if not self._ended:
            self._ended = True
            yield error_form(error)

    def whole(self) -> dict[str, Any]:
        return self._message()

    @property
    def _stop_reason(self) -> str | None:
        if self._stopped_at is not None:
            return "stop_sequence"
        if self._finish == "stop" and self._calls:  # as vLLM ends a call that the client chose by name
            return "tool_use"
        return _STOPS.get(self._finish, "end_turn") if self._finish else None

    @property
    def _used(self) -> dict[str, int]:
        sent, made = self._usage.get("prompt_tokens"), self._usage.get("completion_tokens")
        return {"input_tokens": sent or 0, "output_tokens": made or 0}

    def _message(self) -> dict[str, Any]:
        return {
            "id": self._identity or MESSAGE_PREFIX,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [self._block(at) for at in range(len(self._blocks))],
            "stop_reason": self._stop_reason,
            "stop_sequence": self._stopped_at,
            "usage": self._used,
        }

    def _block(self, at: int) -> dict[str, Any]:
        block = self._blocks[at]
        return {**block, "input": _object(self._arguments[at])} if at in self._arguments else dict(block)

    def _begin(self, block: dict[str, Any]) -> Iterator[Event]:
        yield from self._close()
        self._open = len(self._blocks)
        self._blocks.append(block)
        yield {"type": "content_block_start", "index": self._open, "content_block": dict(block)}

    def _text(self, text: str) -> Iterator[Event]:
        if self._open is None or self._blocks[self._open]["type"] != "text":
            yield from self._begin({"type": "text", "text": ""})
        assert self._open is not None
        self._blocks[self._open]["text"] += text
        yield self._delta(self._open, {"type": "text_delta", "text": text})

    def _call(self, part: dict[str, Any]) -> Iterator[Event]:
        function = part.get("function") or {}
        if part["index"] not in self._calls:
            named = {"id": part.get("id") or "", "name": function.get("name") or ""}
            yield from self._begin({"type": "tool_use", **named, "input": {}})
            self._calls[part["index"]] = len(self._blocks) - 1
        at = self._calls[part["index"]]
        more = function.get("arguments") or ""
        self._arguments[at] = self._arguments.get(at, "") + more
        if more:
            yield self._delta(at, {"type": "input_json_delta", "partial_json": more})

    def _delta(self, at: int, delta: dict[str, Any]) -> Event:
        return {"type": "content_block_delta", "index": at, "delta": delta}

    def _close(self) -> Iterator[Event]:
        at, self._open = self._open, None
        if at is not None:
            yield {"type": "content_block_stop", "index": at}


def _object(arguments: str) -> dict[str, Any]:
    """Return the arguments of a call; none where they were cut off."""
    try:
        found = json.loads(arguments or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
