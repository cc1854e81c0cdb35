"""Passes one request to a vLLM and its answer back, as it comes; counts it, and hands it to the log."""

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agent.http.http_error import HttpError, error_body
from agent.serving.gateway.capture import TRACE_HEADER, Exchange
from agent.serving.gateway.capture_log import CaptureLog
from agent.serving.gateway.event_stream import LEFT, Left, disconnected, while_connected
from agent.serving.gateway.metrics import Metrics
from agent.serving.gateway.model_routing import RoutedModel
from agent.serving.gateway.turn_affinity import Owner, TurnAffinity
from agent.serving.upstreams.connection import LOST, UNREACHABLE, Answer, Connections
from agent.serving.upstreams.pool import Member, UpstreamPool

NO_LOG, WAIT_FOR_LOG = "no", "wait"
"""Values of the log header. ``wait``: the answer ends only when it is on disk."""
_LAST_EVENT = b"\ndata: [DONE]"
"""Last event of a stream. Only the end of the connection follows, for which clients need not wait."""
_ERROR_EVENT = b'data: {"error":'

_JSON = "application/json"
_EVENTS = "text/event-stream"
_TRACEPARENT = re.compile("[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context, version 00."""
_LONGEST_ID = 500
"""A call's id may be cut in two by the end of a piece."""
_LONGEST_USAGE = 4000
"""The end of an answer in which its usage stands, in bytes."""
_KEY_REFUSED = 401
_NOT_STORED = "the answer could not be stored; look at the log of: agent serve"


@dataclass(frozen=True)
class ModelRequest:
    """A request that is ready to be sent. ``exchange`` makes what is logged, of the answer's bytes and its latency in
    ms; ``turn`` gives the key of its turn, ``owner`` says whose it is. ``headers`` are those of the answer, beside the
    model's. ``traceparent`` is the client's span, which the server is told."""

    path: str
    content: bytes
    stream: bool
    model: RoutedModel
    started: float
    log: str
    owner: Owner
    turn: Callable[[], str]
    exchange: Callable[[bytes, float], Exchange]
    headers: Mapping[str, str] = field(default_factory=dict)
    traceparent: str = ""

    @property
    def sent_headers(self) -> dict[str, str]:
        """The headers for the server, beside its key."""
        return {TRACE_HEADER: self.traceparent} if _TRACEPARENT.fullmatch(self.traceparent) else {}


class Told(NamedTuple):
    """Status and body of an answer, and who gave it."""

    status: int
    content: bytes
    member: Member


class Lease:
    """A request's claim on one server, which counts it as in flight until ``close``. ``answer`` is None before the head
    of its answer is here; ``content`` is the body of one that is not streamed."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.answer: Answer | None = None
        self.content = b""
        self._open = True
        member.in_flight += 1

    def close(self) -> None:
        """Stop listening to the server; may be called again."""
        if self._open:
            self._open = False
            self.member.in_flight -= 1
            if self.answer is not None:
                self.answer.close()


class Proxy:
    """``unavailable`` is what clients hear when no server can answer."""

    def __init__(
        self,
        pool: UpstreamPool,
        connections: Connections,
        metrics: Metrics,
        turns: TurnAffinity,
        log: CaptureLog | None,
        unavailable: str,
    ) -> None:
        self.pool = pool
        self.connections = connections
        self.metrics = metrics
        self.turns = turns
        self._log = log
        self._unavailable = unavailable

    def behind(self, pool: UpstreamPool, unavailable: str) -> "Proxy":
        """Return one that passes requests to other servers, and counts and logs them in the same places."""
        return Proxy(pool, self.connections, self.metrics, self.turns, self._log, unavailable)

    async def answer(self, request: Request, asked: ModelRequest) -> Response:
        """Return the response to an ASGI request whose body was read. Raises HttpError where no server answers."""
        self.pool.last_request = time.monotonic()
        try:
            lease = await while_connected(request, self._send(asked))
        except Left:
            await self.finish(asked, LEFT)
            return Response(status_code=LEFT)
        if lease is None or lease.answer is None:
            raise HttpError(503, self._unavailable)
        answer = lease.answer
        headers = {"content-type": answer.headers.get("content-type", _JSON), **asked.model.headers, **asked.headers}
        if _is_streamed(asked, answer):
            return _Stream(self, asked, lease, headers, error_body(503, self._unavailable))
        if answer.status >= 400 and not _is_error(lease.content):
            raise HttpError(answer.status, _words(lease.content) or f"the model server answered {answer.status}")
        self.turns.note(lease.content, asked.model.name, asked.owner, asked.turn)
        if not await self.finish(asked, answer.status, lease.content):
            return HttpError(500, _NOT_STORED).response()
        return Response(lease.content, answer.status, headers)

    async def deliver(self, asked: ModelRequest, content: bytes, *, streamed: bool) -> Response:
        """Return the response with an answer that was received whole."""
        self.turns.note(content, asked.model.name, asked.owner, asked.turn)
        if not await self.finish(asked, 200, content, streamed=streamed):
            return HttpError(500, _NOT_STORED).response()
        headers = {"content-type": _EVENTS if streamed else _JSON, **asked.model.headers, **asked.headers}
        return Response(content, 200, headers)

    @property
    def gives_logprobs(self) -> bool:
        """True while there is a ready server that may give log-probabilities."""
        return any(member.ready and member.gives_logprobs for member in self.pool.members)

    async def ask(self, asked: ModelRequest, content: bytes) -> Told | None:
        """Send ``content`` as what comes before ``asked``, neither counted nor logged, to a server that may give
        log-probabilities; None where none answers."""
        silent = [member for member in self.pool.members if not member.gives_logprobs]
        lease = await self._send(replace(asked, content=content, stream=False), silent)
        if lease is None or lease.answer is None:
            return None
        return Told(lease.answer.status, lease.content, lease.member)

    async def finish(self, asked: ModelRequest, status: int, content: bytes = b"", *, streamed: bool = False) -> bool:
        """Count one request that is done, and hand its answer to the log if it is one for the log.

        Returns False if the client waits for the log and the answer could not be stored.
        """
        if streamed and _ERROR_EVENT in content:
            status = 500
        seconds = time.monotonic() - asked.started
        adapter = asked.model.name if status == 200 else ""
        self.metrics.answered(asked.path, status, adapter, seconds, content[-_LONGEST_USAGE:])
        if self._log is None or status != 200 or asked.log == NO_LOG:
            return True
        exchange = asked.exchange(content, seconds * 1000)
        if asked.log == WAIT_FOR_LOG:
            return await self._log.store(exchange)
        self._log.put(exchange)
        return True

    async def _send(self, asked: ModelRequest, without: Sequence[Member] = ()) -> Lease | None:
        """Send a request to a server; once more, over a fresh connection, if that one is lost before it has begun to
        answer; and then to another. None if none answers, those ``without`` left out."""
        if self._log is not None:
            await self._log.room()
        tried = [*without]
        while (member := self.pool.pick(without=tried)) is not None:
            tried.append(member)
            lease = await self._try(member, asked, fresh=False) or await self._try(member, asked, fresh=True)
            if lease is not None:
                return lease
        return None

    async def _try(self, member: Member, asked: ModelRequest, *, fresh: bool) -> Lease | None:
        """Send a request to one server. None if it gives no answer that a client could use."""
        if not member.ready:
            return None
        lease = Lease(member)
        kept = False
        try:
            answer = lease.answer = await self.connections.send(
                member.upstream, "POST", asked.path, asked.content, fresh=fresh, headers=asked.sent_headers
            )
            if trouble := self._trouble(answer.status, asked):
                self.pool.failed(member, trouble)
                return None
            kept = _is_streamed(asked, answer)
            if not kept:
                lease.content = await answer.read()
        except UNREACHABLE:
            self.pool.failed(member, "cannot be reached")
        except LOST:
            kept = False  # a connection that was kept may have ended just now
        else:
            return lease
        finally:
            if not kept:
                lease.close()
        return None

    def _trouble(self, status: int, asked: ModelRequest) -> str:
        """Return the reason to blame the server, not the client, for an answer with this status; "" without one."""
        if status == 404 and self.pool.is_due(asked.model.name):
            return f"does not know {asked.model.name}"
        return "refuses the gateway's key" if status == _KEY_REFUSED else ""


class _Stream(Response):
    """Passes an answer on as it comes. However this ends, nobody listens to vLLM any more afterwards."""

    def __init__(
        self, proxy: Proxy, asked: ModelRequest, lease: Lease, headers: dict[str, str], broke: dict[str, object]
    ) -> None:
        super().__init__(None, 200, headers)
        del self.headers["content-length"]
        self._proxy, self._asked, self._lease, self._broke = proxy, asked, lease, broke
        self._received: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        left, complete = await self._pass_on_while_connected(receive, send)
        content = b"".join(self._received)
        last = b""
        if complete or content.rstrip().endswith(_LAST_EVENT):
            if not await self._proxy.finish(self._asked, 200, content, streamed=True):
                last = _event(error_body(500, _NOT_STORED))
        else:
            await self._proxy.finish(self._asked, LEFT if left else 503)
            last = b"\n\n" + _event(self._broke)
        if not left:
            await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _pass_on_while_connected(self, receive: Receive, send: Send) -> tuple[bool, bool]:
        """Pass the answer on; returns whether the client left, and whether the answer came to its end."""
        passing = asyncio.ensure_future(self._pass_on(send))
        gone = asyncio.ensure_future(disconnected(receive))
        try:
            await asyncio.wait({passing, gone}, return_when=asyncio.FIRST_COMPLETED)
            left = not passing.done()
            return left, not left and passing.result()
        finally:
            for pending in (passing, gone):
                pending.cancel()
            self._lease.close()

    async def _pass_on(self, send: Send) -> bool:
        """Pass the pieces on and keep them in ``_received``; returns whether they came to their end."""
        asked, proxy, received = self._asked, self._proxy, self._received
        assert self._lease.answer is not None
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async for piece in self._lease.answer.pieces():
                if not received:
                    proxy.metrics.first_piece(asked.path, time.monotonic() - asked.started)
                seen = received[-1][-_LONGEST_ID:] + piece if received else piece
                proxy.turns.note(seen, asked.model.name, asked.owner, asked.turn)
                received.append(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except LOST:
            return False
        return True


def _is_streamed(asked: ModelRequest, answer: Answer) -> bool:
    """Return whether an answer comes as events; errors do not, also where a stream was asked for."""
    return asked.stream and answer.status == 200 and answer.headers.get("content-type", "").startswith(_EVENTS)


def _is_error(content: bytes) -> bool:
    """Return whether a body is an error in OpenAI's form."""
    try:
        return bool(json.loads(content)["error"]["message"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return False


def _words(content: bytes) -> str:
    """Return the words of an error in another form, in one line."""
    return " ".join(content.decode("utf-8", "replace").split())[:500]


def _event(body: dict[str, object]) -> bytes:
    return f"data: {json.dumps(body)}\n\n".encode()
