"""Passes one request to a vLLM and its answer back, as it comes; counts it, and hands it to the log."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from agent.serving.exchange import Exchange
from agent.serving.exchange_log import ExchangeLog
from agent.serving.fleet import Fleet, Member
from agent.serving.metrics import Metrics
from agent.serving.open_turns import OpenTurns
from agent.serving.served import Served
from agent.serving.upstream import LOST, UNREACHABLE, Answer, Connections

NO_LOG, WAIT_FOR_LOG = "no", "wait"
"""Values of the log header. ``wait``: the answer ends only when it is on disk."""
_LAST_EVENT = b"\ndata: [DONE]"
"""What follows it is only the end of the connection, for which clients need not wait."""

_JSON = "application/json"
_LONGEST_ID = 500
"""A call's id may be cut in two by the end of a piece."""
_LEFT = 499
"""Counted for clients that did not wait; nobody hears it."""
_NOT_STORED = "the answer could not be stored; look at the log of: agent serve"

T = TypeVar("T")


@dataclass(frozen=True)
class Ask:
    """A request that is ready to be sent. ``exchange`` makes what is logged of the answer and its latency."""

    path: str
    content: bytes
    stream: bool
    served: Served
    started: float
    log: str
    exchange: Callable[[bytes, float], Exchange]


@dataclass
class _Begun:
    """An answer whose head is here. ``content`` is the body of one that is not streamed."""

    member: Member
    answer: Answer
    content: bytes = b""


class Relay:
    """``unavailable`` is what clients hear when no server can answer."""

    def __init__(
        self,
        fleet: Fleet,
        connections: Connections,
        metrics: Metrics,
        turns: OpenTurns,
        log: ExchangeLog | None,
        unavailable: str,
    ) -> None:
        self.fleet = fleet
        self.metrics = metrics
        self.turns = turns
        self.log = log
        self._connections = connections
        self._unavailable = unavailable
        self._broke = f"\n\ndata: {json.dumps(error_body(503, unavailable))}\n\n".encode()

    async def answer(self, request: Request, ask: Ask) -> Response:
        """The response to an ASGI request whose body was read."""
        self.fleet.last_request = time.monotonic()
        try:
            begun = await _while_connected(request, self._begin(ask))
        except _Left:
            self.count(ask, _LEFT, b"")
            return Response(status_code=_LEFT)
        if begun is None:
            self.count(ask, 503, b"")
            return JSONResponse(error_body(503, self._unavailable), 503)
        answer = begun.answer
        headers = {"content-type": answer.headers.get("content-type", _JSON), **ask.served.headers}
        if ask.stream:
            return _Stream(self, ask, begun, headers, self._broke)
        self.turns.note(begun.content, ask.served.name)
        self.count(ask, answer.status, begun.content[-1000:])
        if ask.log == WAIT_FOR_LOG and not await self.keep(ask, answer.status, begun.content):
            return JSONResponse(error_body(500, _NOT_STORED), 500)
        return _Whole(self, ask, begun.content, answer.status, headers)

    async def keep(self, ask: Ask, status: int, content: bytes) -> bool:
        """Hand an answer to the log, if it is one for the log; False if the client waits for it and it cannot be."""
        if self.log is None or status != 200 or ask.log == NO_LOG:
            return True
        exchange = ask.exchange(content, (time.monotonic() - ask.started) * 1000)
        if ask.log == WAIT_FOR_LOG:
            return await self.log.store(exchange)
        self.log.put(exchange)
        return True

    def count(self, ask: Ask, status: int, tail: bytes) -> None:
        adapter = ask.served.name if status == 200 else ""
        self.metrics.answered(ask.path, status, adapter, time.monotonic() - ask.started, tail)

    async def _begin(self, ask: Ask) -> _Begun | None:
        """Send it to a server; once more, over a fresh connection, if that one is lost before it has begun to answer;
        and then to another."""
        if self.log is not None:
            await self.log.room()
        tried: list[Member] = []
        again: Member | None = None
        while (member := again or self.fleet.pick(without=tried)) is not None:
            fresh, again = again is not None, None
            tried.append(member)
            member.in_flight += 1
            held = False
            try:
                answer = await self._connections.send(member.upstream, "POST", ask.path, ask.content, fresh=fresh)
                if answer.status == 404 and self.fleet.is_due(ask.served.name):
                    answer.close()
                    self.fleet.failed(member, f"does not know {ask.served.name}")
                    continue
                begun = _Begun(member, answer)
                if not ask.stream:
                    begun.content = await answer.read()
                held = ask.stream
            except UNREACHABLE:
                self.fleet.failed(member, "cannot be reached")
            except LOST:
                again = None if fresh else member
            else:
                return begun
            finally:
                if not held:
                    member.in_flight -= 1
        return None


class _Whole(Response):
    """An answer in one piece; it is logged after it was sent."""

    def __init__(self, relay: Relay, ask: Ask, content: bytes, status: int, headers: dict[str, str]) -> None:
        super().__init__(content, status, headers)
        self._relay, self._ask = relay, ask

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().__call__(scope, receive, send)
        if self._ask.log != WAIT_FOR_LOG:
            await self._relay.keep(self._ask, self.status_code, bytes(self.body))


class _Stream(Response):
    """Passes an answer on as it comes. However this ends, nobody listens to vLLM any more afterwards."""

    def __init__(self, relay: Relay, ask: Ask, begun: _Begun, headers: dict[str, str], broke: bytes) -> None:
        super().__init__(None, begun.answer.status, headers)
        del self.headers["content-length"]
        self._relay, self._ask, self._begun, self._broke = relay, ask, begun, broke
        self._received: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ask, relay = self._ask, self._relay
        passing = asyncio.ensure_future(self._pass_on(send))
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({passing, gone}, return_when=asyncio.FIRST_COMPLETED)
            left = not passing.done()
            content = b"".join(self._received)
            whole = content.rstrip().endswith(_LAST_EVENT) or (not left and passing.result())
        finally:
            for pending in (passing, gone):
                pending.cancel()
            self._begun.answer.close()
            self._begun.member.in_flight -= 1
        last = b""
        if whole:
            relay.count(ask, self.status_code, content[-4000:])
            if not await relay.keep(ask, self.status_code, content):
                last = f"data: {json.dumps(error_body(500, _NOT_STORED))}\n\n".encode()
        else:
            relay.count(ask, _LEFT if left else 503, b"")
            last = self._broke
        if not left:
            await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _pass_on(self, send: Send) -> bool:
        """Whether it was passed on to its end; what came is in ``_received``."""
        ask, relay, received = self._ask, self._relay, self._received
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async for piece in self._begun.answer.pieces():
                if not received:
                    relay.metrics.first_piece(ask.path, time.monotonic() - ask.started)
                relay.turns.note(received[-1][-_LONGEST_ID:] + piece if received else piece, ask.served.name)
                received.append(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except LOST:
            return False
        return True


class _Left(Exception):
    """The client has gone."""


async def _while_connected(request: Request, work: Awaitable[T]) -> T:
    """What ``work`` gives. Raises _Left, with the work cancelled, as soon as nobody waits for it."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request.receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise _Left
        return task.result()
    finally:
        for pending in (task, gone):
            pending.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def error_body(status: int, message: str) -> dict[str, Any]:
    """An error as OpenAI's clients expect it."""
    return {"error": {"message": message, "type": "apprentice", "param": None, "code": status}}
