"""Answers that are made here, as long as somebody listens."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Mapping
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

T = TypeVar("T")


COMMENT = b": at work\n\n"
"""A sign of life that readers of event streams pass over."""
LEFT = 499
"""The status that is counted for clients that did not wait; nobody hears it."""


class Left(Exception):
    """The client has gone."""


class EventStream(Response):
    """Sends pieces of an event stream as they come; ends their making as soon as the client has gone."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], headers: Mapping[str, str]) -> None:
        super().__init__(None, 200, {"content-type": "text/event-stream", "cache-control": "no-cache", **headers})
        del self.headers["content-length"]
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(Left):
            await until_gone(self._send_all(send), disconnected(receive))

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with contextlib.aclosing(self._pieces) as pieces:
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await ``work`` and return its result. If the client disconnects first, cancel it and raise Left."""
    return await until_gone(work, disconnected(request.receive))


async def disconnected(receive: Receive) -> None:
    """Wait until the client disconnects."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def until_gone(work: Coroutine[Any, Any, T], gone: Awaitable[None]) -> T:
    """Await ``work`` and return its result. If ``gone`` ends first, cancel it and raise Left."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone)
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Left
        return working.result()
    finally:
        for pending in (working, leaving):
            pending.cancel()
        await asyncio.wait({working, leaving})
