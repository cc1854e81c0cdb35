"""The front door: an OpenAI-compatible server that knows which adapter serves.

It offers chat completions, completions, the list of models, feedback, /health and /metrics, and nothing else of vLLM.
``agent`` is an alias: every request reads the pointer file once and goes to the adapter that it names, unless it goes
on with a turn that another adapter began.
"""

import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agent.config import GatewayConfig
from agent.errors import AdapterError, StorageError
from agent.model_client import LOG_HEADER, SESSION_HEADER
from agent.serving import api_keys
from agent.serving.access import Access, Caller, Refused, allowed_hosts
from agent.serving.api_keys import Scope
from agent.serving.exchange import Exchange, conversation
from agent.serving.exchange_log import ExchangeLog
from agent.serving.fleet import Fleet
from agent.serving.metrics import CONTENT_TYPE, Metrics
from agent.serving.open_turns import OpenTurns
from agent.serving.relay import Ask, Relay, error_body
from agent.serving.served import ALIAS, Names, Served
from agent.serving.upstream import LOST, Connections
from toolkit.errors import UserError

_PROBE_SECONDS = 10
_MODELS = "/v1/models"
_UNAVAILABLE = "the model server is starting or has stopped; try again in a minute, or look at: agent serve"
_FEEDBACK = 'send {"id": "the id in the answer", "verdict": "good" or "bad", "note": "why"}'
_LONGEST_NOTE = 10_000

Handler = Callable[[Request, Caller], Awaitable[Response]]


class Gateway:
    """``app`` is the ASGI application. As long as ``fleet`` has no server, requests are told to come back later.

    ``own_key`` opens every door; apprentice's own commands find it in data/serving.json.
    """

    def __init__(
        self,
        data_folder: Path,
        config: GatewayConfig | None = None,
        *,
        log: ExchangeLog | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        config = config or GatewayConfig()
        self.own_key = api_keys.new_key()
        self.connections = Connections()
        self.metrics = Metrics()
        self.fleet = Fleet(data_folder, say)
        self._log = log
        self._names = Names(data_folder)
        self._turns = OpenTurns()
        self._access = Access(data_folder, config, self.own_key)
        self._body_limit = config.body_limit_mib << 20
        self._relay = Relay(self.fleet, self.connections, self.metrics, self._turns, log, _UNAVAILABLE)
        routes = [
            Route("/v1/chat/completions", self._for("chat", self._chat), methods=["POST"]),
            Route("/v1/completions", self._for("chat", self._completions), methods=["POST"]),
            Route(_MODELS, self._for("chat", self._models), methods=["GET"]),
            Route(f"{_MODELS}/{{name}}", self._for("chat", self._model), methods=["GET"]),
            Route("/v1/feedback", self._for("feedback", self._feedback), methods=["POST"]),
            Route("/metrics", self._for("admin", self._metrics), methods=["GET"]),
            Route("/health", self._health, methods=["GET"]),
        ]
        # A page in a browser must not get in through a name that it controls (DNS rebinding).
        hosts = Middleware(TrustedHostMiddleware, allowed_hosts=allowed_hosts(config), www_redirect=False)
        self.app = Starlette(routes=routes, middleware=[hosts], lifespan=self._lifespan)
        self._gauges()

    @property
    def needs_keys(self) -> bool:
        """Whether who has none is refused."""
        return not self._access.open

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self.connections)
            if self._log is not None:
                await stack.enter_async_context(self._log)
            yield

    def _for(self, scope: Scope, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """``handler`` for those who may; the others hear why not."""

        async def guarded(request: Request) -> Response:
            try:
                caller = self._access.check(request.headers.get("authorization", ""), scope)
            except StorageError as error:
                return error_response(503, str(error))
            if isinstance(caller, Refused):
                response = error_response(caller.status, caller.message)
                if caller.retry_seconds:
                    response.headers["retry-after"] = str(int(caller.retry_seconds) + 1)
                route = _MODELS if request.path_params else request.url.path  # clients make up the names of models
                self.metrics.answered(route, caller.status, "", 0.0, b"")
                return response
            return await handler(request, caller)

        return guarded

    async def _chat(self, request: Request, caller: Caller) -> Response:
        return await self._answer(request, caller, chat=True)

    async def _completions(self, request: Request, caller: Caller) -> Response:
        return await self._answer(request, caller, chat=False)

    async def _answer(self, request: Request, caller: Caller, *, chat: bool) -> Response:
        started = time.monotonic()
        route = request.url.path

        def refuse(status: int, message: str) -> Response:
            self.metrics.answered(route, status, "", time.monotonic() - started, b"")
            return error_response(status, message)

        content = await self._body(request)
        if content is None:
            return refuse(413, f"the request is larger than {self._body_limit >> 20} MiB")
        try:
            body = json.loads(content)
            asked = body.get("model", ALIAS)
        except (ValueError, AttributeError, RecursionError):
            return refuse(400, "the request's body is no JSON object")
        session = request.headers.get(SESSION_HEADER) or (conversation(body.get("messages")) if chat else "")
        try:
            served = self._served(asked, body, session, caller)
        except AdapterError as error:
            return refuse(503, str(error))
        if served is None:
            return refuse(404, f"there is no model {asked!r}; see /v1/models")
        if chat:
            self.metrics.results_sent(body.get("messages"), served.name)
        sent = {**body, "model": served.name}
        if chat and served.logit_bias and _may_call(body):
            sent["logit_bias"] = served.logit_bias
        headers = request.headers
        ask = Ask(
            path=route,
            content=json.dumps(sent).encode(),
            stream=bool(body.get("stream")),
            served=served,
            started=started,
            log=headers.get(LOG_HEADER, ""),
            exchange=lambda answer, latency_ms: Exchange(
                request=body,
                response=answer,
                adapter=served.name,
                adapter_sha256=served.sha256,
                session=session,
                latency_ms=latency_ms,
                chat=chat,
                owner=caller.name,
                tenant=caller.tenant,
            ),
        )
        return await self._relay.answer(request, ask)

    def _served(self, asked: object, body: dict[str, Any], session: str, caller: Caller) -> Served | None:
        """Who answers. The results of tools go to the adapter that asked for them."""
        if asked != ALIAS:
            return self._names.find(asked)
        begun_by = self._turns.adapter(body.get("messages"))
        if begun_by is not None:
            return self._names.find(begun_by)
        on_trial = self._names.on_trial(session, caller.name)
        if on_trial is not None and self.fleet.is_due(on_trial.name):
            return on_trial
        return self._names.find(ALIAS)

    async def _body(self, request: Request) -> bytes | None:
        """The request's body; None if it is too large, which is noticed before all of it is here."""
        parts: list[bytes] = []
        size = 0
        with contextlib.suppress(ClientDisconnect):
            async for part in request.stream():
                size += len(part)
                if size > self._body_limit:
                    return None
                parts.append(part)
        return b"".join(parts)

    async def _models(self, _: Request, __: Caller) -> Response:
        models = await self._listed()
        return models if isinstance(models, Response) else JSONResponse(models)

    async def _model(self, request: Request, _: Caller) -> Response:
        models = await self._listed()
        if isinstance(models, Response):
            return models
        name = request.path_params["name"]
        found = next((model for model in models["data"] if model["id"] == name), None)
        return JSONResponse(found) if found else error_response(404, f"there is no model {name!r}; see /v1/models")

    async def _listed(self) -> dict[str, Any] | Response:
        """All models, or why nobody knows them now."""
        content = await self._ask_a_server(_MODELS)
        if content is None:
            return error_response(503, _UNAVAILABLE)
        try:
            active = self._names.active()
        except AdapterError as error:
            return error_response(503, str(error))
        models = json.loads(content)
        entry = {"id": ALIAS, "object": "model", "created": int(time.time()), "owned_by": "apprentice", "root": active}
        models["data"].insert(0, entry)
        return models

    async def _feedback(self, request: Request, caller: Caller) -> Response:
        """A word on an interaction of the same key. The answer comes when both are on disk."""
        content = await self._body(request)
        try:
            body = json.loads(content or b"")
            reference, verdict, note = body["id"], body["verdict"], body.get("note", "")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return error_response(400, _FEEDBACK)
        if verdict not in ("good", "bad") or not isinstance(reference, str) or not isinstance(note, str):
            return error_response(400, _FEEDBACK)
        if self._log is None:
            return error_response(404, "nothing is logged here")
        try:
            identity = await self._log.feedback(reference, verdict, note[:_LONGEST_NOTE], caller.name)
        except StorageError as error:
            return error_response(503, str(error))
        except UserError:
            return error_response(404, f"there is no interaction {reference!r} of yours")
        return JSONResponse({"id": identity, "verdict": verdict})

    async def _metrics(self, _: Request, __: Caller) -> Response:
        try:
            active = self._names.active()
        except AdapterError:
            active = None
        return Response(self.metrics.text(active), headers={"content-type": CONTENT_TYPE})

    async def _health(self, _: Request) -> Response:
        members = self.fleet.members
        problem = ""
        try:
            adapter = self._names.active()
        except AdapterError as error:
            adapter, problem = None, str(error)
        if self.fleet.pick() is None or await self._ask_a_server("/health") is None:
            problem = _UNAVAILABLE
        state: dict[str, Any] = {"vllm_pid": members[0].upstream.pid or None if members else None, "adapter": adapter}
        if len(members) > 1:
            state["servers"] = [{"ready": member.ready, "trouble": member.trouble} for member in members]
        if self._log is not None:
            state["log_failures"] = self._log.failures
        if problem:
            return JSONResponse({"status": "unavailable", "problem": problem, **state}, 503)
        return JSONResponse({"status": "ok", **state})

    async def _ask_a_server(self, path: str) -> bytes | None:
        """What one of the servers says; None if none says anything."""
        member = self.fleet.pick()
        if member is None:
            return None
        try:
            answer = await self.connections.send(member.upstream, "GET", path, seconds=_PROBE_SECONDS)
            return await answer.read() if answer.status == 200 else None
        except LOST:
            return None

    def _gauges(self) -> None:
        gauge = self.metrics.gauge
        gauge("apprentice_requests_in_flight", "Requests that vLLM is answering.", lambda: self.fleet.in_flight)
        gauge("apprentice_servers", "vLLM servers.", lambda: len(self.fleet.members))
        gauge(
            "apprentice_servers_ready",
            "vLLM servers that get requests.",
            lambda: sum(member.ready for member in self.fleet.members),
        )
        if (log := self._log) is not None:
            gauge("apprentice_log_queue_depth", "Exchanges that wait to be written.", lambda: log.depth)
            gauge("apprentice_log_failures", "Exchanges that could not be written.", lambda: log.failures)


def _may_call(body: dict[str, Any]) -> bool:
    return bool(body.get("tools")) and body.get("tool_choice", "auto") in ("auto", None) and "logit_bias" not in body


def error_response(status: int, message: str) -> JSONResponse:
    return JSONResponse(error_body(status, message), status)
