"""Answers in the form of OpenAI's Responses: items, and the events that build them.

Source: OpenAI's API reference and the types of its Python client. The calls of the agent itself (``apprentice``) are
items of the type ``mcp_call``, which the protocol has for calls that the server runs.
"""

import re
import time
from collections.abc import Iterator
from typing import Any

from agent.http.http_error import HttpError, error_body
from agent.log.entries import RESPONSE_PREFIX
from agent.serving.gateway.agent.text import FIELD, MODEL
from agent.serving.gateway.dialects.translation import Event
from agent.serving.gateway.event_stream import COMMENT

_ECHOED = (
    "instructions",
    "max_output_tokens",
    "metadata",
    "parallel_tool_calls",
    "previous_response_id",
    "reasoning",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_p",
    "truncation",
    "user",
)
_DEFAULTS: dict[str, Any] = {
    "metadata": {},
    "parallel_tool_calls": True,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "truncation": "disabled",
}
_FIELDS = (
    (re.compile(r"messages\[\d+\](\.\w+)*"), "input"),
    (re.compile(r"(tools\[\d+\])\.function"), r"\1"),
    (re.compile(r"response_format\.json_schema"), "text.format"),
    (re.compile(r"response_format"), "text.format"),
)
"""Names in this protocol for fields of the chat request."""


def error_form(error: HttpError) -> dict[str, Any]:
    """Return the body that tells an error, with this protocol's names of the fields."""
    return error_body(error.status, _renamed(error.message), _renamed(error.param))


class ResponseTelling:
    """Tells one answer. ``body`` is the request, whose settings a response repeats."""

    def __init__(self, body: dict[str, Any]) -> None:
        self._base = {name: body.get(name, _DEFAULTS.get(name)) for name in _ECHOED}
        self._created = int(time.time())
        self._identity = self._model = ""
        self._output: list[dict[str, Any]] = []
        self._calls: dict[int, int] = {}
        self._open: int | None = None
        self._finish = ""
        self._usage: dict[str, Any] | None = None
        self._error: dict[str, Any] | None = None
        self._sent = -1
        self._ended = False

    def chunk(self, chunk: dict[str, Any]) -> Iterator[Event]:
        if not self._identity:
            self._identity, self._model = RESPONSE_PREFIX + str(chunk["id"]), chunk.get("model") or ""
            yield self._event("response.created", response=self._response("in_progress"))
            yield self._event("response.in_progress", response=self._response("in_progress"))
        self._usage = chunk.get("usage") or self._usage
        if FIELD in chunk:
            yield from self._own(chunk[FIELD])
        for choice in chunk["choices"]:
            if choice.get("index"):
                continue
            self._finish = choice.get("finish_reason") or self._finish
            delta = choice.get("delta") or {}
            if delta.get("content") and FIELD not in chunk:
                yield from self._text(delta["content"])
            for part in delta.get("tool_calls") or ():
                yield from self._call(part)

    def at_work(self) -> bytes:
        return COMMENT

    def end(self) -> Iterator[Event]:
        if self._ended:
            return
        self._ended = True
        yield from self._close()
        status = "incomplete" if self._finish == "length" else "completed" if self._finish else "failed"
        if status == "failed" and self._error is None:
            self._error = {"code": "server_error", "message": "the answer ended in the middle"}
        yield self._event(f"response.{status}", response=self._response(status))

    def broken(self, error: HttpError) -> Iterator[Event]:
        self._error = {"code": "server_error", "message": _renamed(error.message)}
        self._finish = ""
        yield from self.end()

    def whole(self) -> dict[str, Any]:
        return self._response("incomplete" if self._finish == "length" else "completed")

    def _response(self, status: str) -> dict[str, Any]:
        return {
            "id": self._identity or RESPONSE_PREFIX,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "model": self._model,
            "output": [dict(item) for item in self._output],
            "error": self._error,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "usage": _usage(self._usage) if status in ("completed", "incomplete") else None,
            **self._base,
        }

    def _event(self, kind: str, **values: Any) -> Event:
        self._sent += 1
        return {"type": kind, "sequence_number": self._sent, **values}

    def _of(self, kind: str, at: int, **values: Any) -> Event:
        return self._event(kind, output_index=at, item_id=self._output[at]["id"], **values)

    def _begin(self, item: dict[str, Any]) -> Event:
        self._open = len(self._output)
        self._output.append(item)
        return self._event("response.output_item.added", output_index=self._open, item=dict(item))

    def _text(self, text: str) -> Iterator[Event]:
        if self._open is None or self._output[self._open]["type"] != "message":
            yield from self._close()
            item = {"type": "message", "role": "assistant", "status": "in_progress", "content": []}
            yield self._begin({"id": self._item_id("msg"), **item})
            assert self._open is not None
            yield self._of("response.content_part.added", self._open, content_index=0, part=_part(""))
            self._output[self._open]["content"] = [_part("")]
        assert self._open is not None
        part = self._output[self._open]["content"][0]
        self._output[self._open]["content"] = [_part(part["text"] + text)]
        yield self._of("response.output_text.delta", self._open, content_index=0, delta=text, logprobs=[])

    def _call(self, part: dict[str, Any]) -> Iterator[Event]:
        function = part.get("function") or {}
        at = self._calls.get(part["index"])
        if at is None:
            yield from self._close()
            item = {"type": "function_call", "status": "in_progress", "arguments": ""}
            named = {"call_id": part.get("id") or "", "name": function.get("name") or ""}
            yield self._begin({"id": self._item_id("fc"), **item, **named})
            assert self._open is not None
            at = self._calls[part["index"]] = self._open
        if more := function.get("arguments"):
            self._output[at]["arguments"] += more
            yield self._of("response.function_call_arguments.delta", at, delta=more)

    def _own(self, told: dict[str, Any]) -> Iterator[Event]:
        """Tell a call that the agent made itself, or its result."""
        if (call := told.get("call")) is not None:
            yield from self._close()
            item = {"type": "mcp_call", "id": call["id"], "server_label": MODEL, "name": call["name"]}
            rest = {"arguments": call["arguments"], "output": None, "error": None, "status": "in_progress"}
            yield self._begin({**item, **rest})
            at, self._open = len(self._output) - 1, None
            yield self._of("response.mcp_call.in_progress", at)
            yield self._of("response.mcp_call_arguments.done", at, arguments=call["arguments"])
        if (result := told.get("result")) is not None:
            yield from self._result(result)

    def _result(self, result: dict[str, Any]) -> Iterator[Event]:
        waiting = (
            at
            for at, item in enumerate(self._output)
            if item["type"] == "mcp_call" and item["id"] == result["id"] and item["status"] == "in_progress"
        )
        if (at := next(waiting, None)) is None:
            return
        status, field = ("completed", "output") if result["ok"] else ("failed", "error")
        self._output[at] |= {field: result["output"], "status": status}
        yield self._of(f"response.mcp_call.{status}", at)
        yield self._event("response.output_item.done", output_index=at, item=dict(self._output[at]))

    def _close(self) -> Iterator[Event]:
        """End the item that grows."""
        at, self._open = self._open, None
        if at is None:
            return
        item = self._output[at]
        item["status"] = "incomplete" if self._finish == "length" else "completed"
        if item["type"] == "message":
            part = item["content"][0]
            yield self._of("response.output_text.done", at, content_index=0, text=part["text"], logprobs=[])
            yield self._of("response.content_part.done", at, content_index=0, part=part)
        else:
            told = {"arguments": item["arguments"], "name": item["name"]}
            yield self._of("response.function_call_arguments.done", at, **told)
        yield self._event("response.output_item.done", output_index=at, item=dict(item))

    def _item_id(self, kind: str) -> str:
        return f"{kind}_{self._identity.removeprefix(RESPONSE_PREFIX)}_{len(self._output)}"


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(usage: dict[str, Any] | None) -> dict[str, Any]:
    told = usage or {}
    sent, made = told.get("prompt_tokens") or 0, told.get("completion_tokens") or 0
    cached = (told.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return {
        "input_tokens": sent,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": sent + made,
    }


def _renamed(text: str) -> str:
    for pattern, name in _FIELDS:
        text = pattern.sub(name, text)
    return text
