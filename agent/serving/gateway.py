"""The front door: an OpenAI-compatible server that knows which adapter serves.

It offers chat completions, completions, the list of models and /health, and nothing else of vLLM. ``agent`` is an
alias: every request reads the pointer file once and goes to the adapter that it names.
"""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from agent.errors import AdapterError
from agent.messages import BASE
from agent.model_client import ADAPTER_HEADER, ADAPTER_SHA256_HEADER, LOG_HEADER
from agent.serving import active_adapter
from agent.serving.adapter_folder import MANIFEST, folder_of, read_manifest
from agent.serving.exchange import Exchange
from agent.serving.exchange_log import ExchangeLog
from agent.serving.upstream import Answer, Connections, Upstream

ALIAS = "agent"
SESSION_HEADER = "x-apprentice-session"

_LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")
_PROBE_SECONDS = 10
_NAME = re.compile(active_adapter.NAME_PATTERN)
_UNAVAILABLE = "the model server is starting or has stopped; try again in a minute, or look at: agent serve"

T = TypeVar("T")


@dataclass(frozen=True)
class Served:
    """Who answers a request, and the bias that its calibration asks for."""

    name: str
    sha256: str = ""
    logit_bias: dict[str, float] | None = None

    @property
    def headers(self) -> dict[str, str]:
        return {ADAPTER_HEADER: self.name, ADAPTER_SHA256_HEADER: self.sha256}


class Gateway:
    """``app`` is the ASGI application. ``upstream`` None: requests are told to come back later."""

    def __init__(self, data_folder: Path, *, host: str = "127.0.0.1", log: ExchangeLog | None = None) -> None:
        self.upstream: Upstream | None = None
        self._data_folder = data_folder
        self._log = log
        self._cache: dict[Path, tuple[tuple[int, int, int], Any]] = {}
        self._connections = Connections()
        routes = [
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/completions", self._completions, methods=["POST"]),
            Route("/v1/models", self._models),
            Route("/health", self._health),
        ]
        # A page in a browser must not reach a loopback server through a name that it controls (DNS rebinding).
        hosts = [Middleware(TrustedHostMiddleware, allowed_hosts=list(_LOOPBACK), www_redirect=False)]
        self.app = Starlette(routes=routes, middleware=hosts if host in _LOOPBACK else [], lifespan=self._lifespan)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._connections.close)
            if self._log is not None:
                await stack.enter_async_context(self._log)
            yield

    async def _chat(self, request: Request) -> Response:
        return await self._answer(request, chat=True)

    async def _completions(self, request: Request) -> Response:
        return await self._answer(request, chat=False)

    async def _answer(self, request: Request, *, chat: bool) -> Response:
        started = time.monotonic()
        try:
            body = json.loads(await request.body())
            asked = body.get("model", ALIAS)
        except (ValueError, AttributeError, RecursionError):
            return _error(400, "the request's body is no JSON object")
        try:
            served = self._served(asked)
        except AdapterError as error:
            return _error(503, str(error))
        if served is None:
            return _error(404, f"there is no model {asked!r}; see /v1/models")
        sent = {**body, "model": served.name}
        if chat and served.logit_bias and _may_call(body):
            sent["logit_bias"] = served.logit_bias
        answer = await _while_connected(request, self._send(request.url.path, sent))
        if answer is None:
            return _error(503, _UNAVAILABLE)
        capture = None
        status = answer.response.status_code
        if self._log is not None and chat and status == 200 and request.headers.get(LOG_HEADER) != "no":
            capture = _Capture(self._log, body, served, request.headers.get(SESSION_HEADER, ""), started)
        headers = {"content-type": answer.response.headers.get("content-type", "application/json"), **served.headers}
        if body.get("stream"):
            return _Stream(answer, capture, status, headers)
        background = None
        if capture is not None:
            capture.received.append(answer.response.content)
            background = BackgroundTask(capture.finish)
        return Response(answer.response.content, status, headers, background=background)

    async def _send(self, path: str, body: dict[str, Any]) -> Answer | None:
        if self.upstream is None:
            return None
        try:
            answer = await self._connections.send(self.upstream.request("POST", path, body))
            if not body.get("stream"):
                await answer.read()
        except httpx.TransportError:
            return None
        return answer

    async def _models(self, _: Request) -> Response:
        response = await self._get("/v1/models")
        if response is None:
            return _error(503, _UNAVAILABLE)
        models = response.json()
        try:
            active = self._active().name
        except AdapterError as error:
            return _error(503, str(error))
        entry = {"id": ALIAS, "object": "model", "created": int(time.time()), "owned_by": "apprentice", "root": active}
        models["data"].insert(0, entry)
        return JSONResponse(models)

    async def _health(self, _: Request) -> Response:
        upstream = self.upstream
        response = await self._get("/health")
        try:
            adapter, problem = self._active().name, ""
        except AdapterError as error:
            adapter, problem = None, str(error)
        if response is None or response.status_code != 200:
            problem = _UNAVAILABLE
        state = {"vllm_pid": upstream.pid if upstream else None, "adapter": adapter}
        if self._log is not None:
            state["log_failures"] = self._log.failures
        if problem:
            return JSONResponse({"status": "unavailable", "problem": problem, **state}, 503)
        return JSONResponse({"status": "ok", **state})

    async def _get(self, path: str) -> httpx.Response | None:
        upstream = self.upstream
        if upstream is None:
            return None
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                answer = await self._connections.send(upstream.request("GET", path))
                await answer.read()
        except (httpx.TransportError, TimeoutError):
            return None
        return answer.response

    def _active(self) -> active_adapter.ActiveAdapter:
        return self._cached(active_adapter.path(self._data_folder), lambda: active_adapter.read(self._data_folder))

    def _served(self, asked: object) -> Served | None:
        """Who serves the model that was asked for; None if no model can have that name."""
        active = self._active() if asked == ALIAS else None
        name = active.name if active else asked
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            return None
        if name == BASE:
            return Served(BASE)
        folder = folder_of(self._data_folder, name)
        if active is None and not folder.exists():
            return Served(name)  # vLLM says itself that it does not know the name
        manifest = self._cached(folder / MANIFEST, lambda: read_manifest(folder))
        return Served(name, manifest.sha256, manifest.logit_bias)

    def _cached(self, file: Path, read: Callable[[], T]) -> T:
        try:
            status = file.stat()
            stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
        except OSError:
            return read()
        known = self._cache.get(file)
        if known is None or known[0] != stamp:
            known = self._cache[file] = (stamp, read())
        return known[1]


class _Capture:
    """Collects one exchange while it is passed on."""

    def __init__(self, log: ExchangeLog, request: dict[str, Any], served: Served, session: str, started: float) -> None:
        self.received: list[bytes] = []
        self._log = log
        self._request = request
        self._served = served
        self._session = session
        self._started = started

    async def finish(self) -> None:
        latency_ms = (time.monotonic() - self._started) * 1000
        content = b"".join(self.received)
        served = self._served
        await self._log.put(Exchange(self._request, content, served.name, served.sha256, self._session, latency_ms))


class _Stream(StreamingResponse):
    """Passes an answer on as it comes. However this ends, nobody listens to vLLM any more afterwards."""

    def __init__(self, answer: Answer, capture: _Capture | None, status: int, headers: dict[str, str]) -> None:
        super().__init__(self._pass_on(capture), status, headers)
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._answer.close()

    async def _pass_on(self, capture: _Capture | None) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._answer.response.aiter_raw():
                if capture is not None:
                    capture.received.append(chunk)
                yield chunk
            if capture is not None:
                await capture.finish()
        except httpx.TransportError:
            yield _STREAM_BROKE


async def _while_connected(request: Request, work: Awaitable[T]) -> T | None:
    """What ``work`` gives; None, with the work cancelled, as soon as nobody waits for it."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for pending in (task, gone):
            pending.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _may_call(body: dict[str, Any]) -> bool:
    return bool(body.get("tools")) and body.get("tool_choice", "auto") in ("auto", None) and "logit_bias" not in body


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse(_error_body(status, message), status)


def _error_body(status: int, message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "apprentice", "param": None, "code": status}}


_STREAM_BROKE = f"\n\ndata: {json.dumps(_error_body(503, _UNAVAILABLE))}\n\n".encode()
"""The empty line ends what may have been cut off."""
