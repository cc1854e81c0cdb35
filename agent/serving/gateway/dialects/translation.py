"""Other protocols in front of chat completions: a request becomes a chat request, its answer is told in their words.

One path serves, routes and logs; the code of a protocol sees only the answers of that path to its client.
"""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from agent.http.http_error import HttpError
from agent.serving.gateway.agent.text import FIELD

Event = dict[str, Any]
"""An event of a stream, whose field ``type`` names it."""


class Telling(Protocol):
    """Tells one answer. Its events are in the order of the protocol; ``whole`` is what they amount to."""

    def chunk(self, chunk: dict[str, Any]) -> Iterable[Event]:
        """Take a chunk of a chat completion."""
        ...

    def at_work(self) -> bytes:
        """Return the bytes that keep a connection open while there is no event."""
        ...

    def end(self) -> Iterable[Event]:
        """Return the events after the last chunk."""
        ...

    def broken(self, error: HttpError) -> Iterable[Event]:
        """Return the events that end a stream which an error broke."""
        ...

    def whole(self) -> dict[str, Any]:
        """Return the answer as one object; after ``end``."""
        ...


ErrorForm = Callable[[HttpError], dict[str, Any]]
"""The body that tells an error, with the names of the client's own fields."""


class Translated(Response):
    """The response of chat completions, as ``telling`` says it; its error in ``form``."""

    def __init__(self, inner: Response, form: ErrorForm, telling: Telling) -> None:
        super().__init__()
        self._inner, self._form, self._telling = inner, form, telling

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._inner(scope, receive, _Sender(send, self._form, self._telling))


class _Sender:
    """An ASGI ``send`` that translates what passes."""

    def __init__(self, send: Send, form: ErrorForm, telling: Telling) -> None:
        self._send, self._form, self._telling = send, form, telling
        self._start: Message = {}
        self._streamed = False
        self._held = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            kind = dict(message["headers"]).get(b"content-type", b"")
            self._streamed = message["status"] == 200 and kind.startswith(b"text/event-stream")
            if self._streamed:
                await self._send(message)
            return
        self._held += message.get("body", b"")
        ended = not message.get("more_body")
        if self._streamed:
            told = b"".join(self._told(ended))
            if told or ended:
                await self._send({**message, "body": told})
        elif ended:
            await self._send_whole(message)

    async def _send_whole(self, message: Message) -> None:
        content = self._held
        with contextlib.suppress(ValueError, LookupError, TypeError):  # what is no JSON passes as it is
            content = json.dumps(self._whole(json.loads(content)), ensure_ascii=False).encode()
        kept = [(name, value) for name, value in self._start["headers"] if name.lower() != b"content-length"]
        await self._send({**self._start, "headers": [*kept, (b"content-length", str(len(content)).encode())]})
        await self._send({**message, "body": content})

    def _whole(self, body: dict[str, Any]) -> dict[str, Any]:
        if self._start["status"] != 200:
            return self._form(error_in(body, self._start["status"]))
        for chunk in _as_chunks(body):
            _exhaust(self._telling.chunk(chunk))
        _exhaust(self._telling.end())
        return self._telling.whole()

    def _told(self, ended: bool) -> Iterator[bytes]:
        *complete, self._held = self._held.split(b"\n\n")
        for block in [*complete, self._held] if ended else complete:
            line = block.strip()
            if line.startswith(b":"):
                yield self._telling.at_work()
            elif line.startswith(b"data:"):
                yield from map(written, self._events(line[5:].strip()))

    def _events(self, data: bytes) -> Iterable[Event]:
        if data == b"[DONE]":
            return self._telling.end()
        chunk = json.loads(data)
        return self._telling.broken(error_in(chunk, 500)) if "error" in chunk else self._telling.chunk(chunk)


def written(event: Event) -> bytes:
    """Return an event as a server sends it."""
    return f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode()


def error_in(body: dict[str, Any], status: int) -> HttpError:
    """Return the error that a body in OpenAI's form tells."""
    error = body["error"]
    code = error.get("code")
    return HttpError(code if isinstance(code, int) else status, error["message"], param=error.get("param") or "")


def _as_chunks(completion: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return a whole chat completion as the chunks of a stream that says the same."""
    head = {name: completion.get(name) for name in ("id", "created", "model")}
    told = completion.get(FIELD) or {}
    for kind in ("call", "result"):
        for value in told.get(f"{kind}s", ()):
            yield {**head, "choices": [], FIELD: {kind: value}}
    choice = completion["choices"][0]
    message = choice["message"]
    calls = [{**call, "index": index} for index, call in enumerate(message.get("tool_calls") or ())]
    delta = {"content": message.get("content"), "tool_calls": calls}
    yield {**head, "choices": [{**choice, "delta": delta}], "usage": completion.get("usage")}


def _exhaust(events: Iterable[Event]) -> None:
    for _ in events:
        pass
