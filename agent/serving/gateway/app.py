"""The gateway: an OpenAI-compatible server that knows which adapter serves.

It offers chat completions, completions, the list of models, feedback, /health, /servers and /metrics, and nothing else
of vLLM. Embeddings come from an encoder of its own.
``agent`` is an alias: every request reads the pointer file once and goes to the adapter that it names, unless it goes
on with a turn that another adapter began. A tenant with an adapter of its own is answered by that.
"""

import asyncio
import contextlib
import functools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from agent.config import GatewayConfig, ServingConfig
from agent.errors import AdapterError, StorageError
from agent.http import http_error, json_body
from agent.http.http_error import HttpError
from agent.log import corrections
from agent.models.template_markers import Markers, configured_markers
from agent.serving.gateway import smolagents_format
from agent.serving.gateway.access import api_keys
from agent.serving.gateway.access.api_keys import Scope
from agent.serving.gateway.access.auth import Access, Caller, Refused, allowed_hosts
from agent.serving.gateway.access.host_check import HostCheck
from agent.serving.gateway.access.origins import browser_guard
from agent.serving.gateway.agent import mcp_route
from agent.serving.gateway.agent.chat_completions import AgentModel
from agent.serving.gateway.agent.mcp_route import McpRoute
from agent.serving.gateway.agent.text import MODEL as AGENT
from agent.serving.gateway.capture import TRACE_HEADER, Exchange, conversation
from agent.serving.gateway.capture_log import CaptureLog
from agent.serving.gateway.choosing import answer_chosen, first_tools, with_further
from agent.serving.gateway.client_text import literal_chat
from agent.serving.gateway.dialects import messages, responses
from agent.serving.gateway.dialects.routes import DialectRoutes
from agent.serving.gateway.dialects.translation import ErrorForm
from agent.serving.gateway.embeddings import Embeddings
from agent.serving.gateway.metrics import Metrics
from agent.serving.gateway.model_routing import ALIAS, ModelRouter, RoutedModel
from agent.serving.gateway.pages import Pages
from agent.serving.gateway.proxy import ModelRequest, Proxy
from agent.serving.gateway.request_models import (
    ChatRequest,
    CompletionRequest,
    EmbeddingsRequest,
    FeedbackRequest,
    may_call,
)
from agent.serving.gateway.shadow import Beside, Shadow
from agent.serving.gateway.status_routes import MODELS, SERVERS, UNAVAILABLE, StatusRoutes
from agent.serving.gateway.turn_affinity import Owner, TurnAffinity, turn_key
from agent.serving.upstreams.connection import Connections
from agent.serving.upstreams.pool import UpstreamPool
from agent.tools.schemas import checked, prepared_answer
from agent.turn.choice import ToolChoice
from agent.turn.messages import BASE, UPSTREAM, is_foreign
from agent.turn.model_client import CHOICE_HEADER, LOG_HEADER, SESSION_HEADER
from agent.turn.prompt import PROMPT_VERSION
from toolkit.errors import UserError

_CHAT, _COMPLETIONS = "/v1/chat/completions", "/v1/completions"
_FEEDBACK = 'send {"id": "the id in the answer", "verdict": "good" or "bad", "note": "why"}'
_LONGEST_NOTE = 10_000

Handler = Callable[[Request, Caller], Awaitable[Response]]


@dataclass(frozen=True)
class _Routed:
    """A request that was checked, as it is logged and as the model is ``shown`` it, and who answers it.

    ``turn`` gives the key of its turn (``turn_key``). ``choice``: that among its tools, if one was made.
    """

    body: dict[str, Any]
    shown: dict[str, Any]
    model: RoutedModel
    started: float
    session: str
    turn: Callable[[], str] = str
    chat: bool = True
    choice: ToolChoice | None = None


class Gateway:
    """``app`` is the ASGI application. As long as ``pool`` has no server, requests are told to come back later.

    ``own_key`` has every scope; apprentice's own commands find it in data/serving.json. ``markers`` gives those of the
    model that serves, which chat requests are made free of before they reach it. ``agent`` answers as ``apprentice``;
    None: nothing does. ``shadow``: lets another server answer. ``pages``: what is shown below a path beside the API.
    """

    chooses = True  # the model judges tools one by one (choosing)
    prompt_version: Callable[[], str] = staticmethod(lambda: PROMPT_VERSION)  # of the profile that is served
    parallel: Callable[[], bool] = staticmethod(lambda: True)  # its template can write several calls in one answer
    user_after_result: Callable[[], bool] = staticmethod(lambda: True)  # its template takes such a message
    shadow: Shadow | None = None

    def __init__(
        self,
        data_folder: Path,
        config: GatewayConfig | None = None,
        *,
        log: CaptureLog | None = None,
        pages: Mapping[str, Pages] | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        config = config or GatewayConfig()
        self.own_key = api_keys.new_key()
        self.connections = Connections()
        self.metrics = Metrics()
        self.pool = UpstreamPool(data_folder, say)
        unknown = configured_markers(ServingConfig(), None)
        self.markers: Callable[[], Markers] = lambda: unknown
        self.agent: AgentModel | None = None
        self._log = log
        self._router = ModelRouter(data_folder)
        self._turns = TurnAffinity()
        self._access = Access(data_folder, config, self.own_key)
        self._body_limit = config.body_limit_mib << 20
        self.proxy = Proxy(self.pool, self.connections, self.metrics, self._turns, log, UNAVAILABLE)
        self._dialects = DialectRoutes(self._answer_chat, log)
        self._embeddings = Embeddings(self.metrics)
        has_agent = lambda: self.agent is not None  # noqa: E731
        self._status = StatusRoutes(self.pool, self.connections, self.metrics, self._router, log, has_agent)
        self._mcp = McpRoute(
            lambda request: self._admitted(request, "chat"),
            lambda: self.agent.turns if self.agent is not None else None,
            self._body_limit,
        )
        self.app = self._application(config, pages or {})

    def _application(self, config: GatewayConfig, pages: Mapping[str, Pages]) -> Starlette:
        mounts = [Mount(path, app=make(self._access)) for path, make in pages.items()]
        # A page in a browser must not get in through a name that it controls (DNS rebinding).
        hosts = Middleware(HostCheck, allowed=allowed_hosts(config))
        return Starlette(
            routes=[*self._routes(), *mounts],
            middleware=[hosts, *browser_guard(config, tuple(pages))],
            exception_handlers=http_error.HANDLERS,
            lifespan=self._lifespan,
        )

    def _routes(self) -> list[Route]:
        return [
            Route(_CHAT, self._for("chat", self._chat), methods=["POST"]),
            Route("/v1/responses", self._for("chat", self._responses, responses.error_form), methods=["POST"]),
            Route("/v1/messages", self._for("chat", self._messages, messages.error_form), methods=["POST"]),
            Route(_COMPLETIONS, self._for("chat", self._completions), methods=["POST"]),
            Route("/v1/embeddings", self._for("chat", self._embed), methods=["POST"]),
            Route(MODELS, self._for("chat", self._status.models), methods=["GET"]),
            Route(f"{MODELS}/{{name}}", self._for("chat", self._status.model), methods=["GET"]),
            Route(mcp_route.PATH, self._mcp, methods=["GET", "POST", "DELETE"]),
            Route("/v1/feedback", self._for("feedback", self._feedback), methods=["POST"]),
            Route("/metrics", self._for("admin", self._status.figures), methods=["GET"]),
            Route(SERVERS, self._for("admin", self._status.servers), methods=["GET"]),
            Route("/health", self._status.health, methods=["GET"]),
        ]

    @property
    def needs_keys(self) -> bool:
        """Return whether requests without an API key are refused."""
        return not self._access.open

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._embeddings.close)
            await stack.enter_async_context(self.connections)
            if self._log is not None:
                await stack.enter_async_context(self._log)
            yield
            await self._mcp.close()
            for part in filter(None, (self.agent, self.shadow)):
                await part.close()

    def _for(
        self, scope: Scope, handler: Handler, form: ErrorForm | None = None
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return ``handler`` for those who may; counts every request that is refused, and tells it in ``form``."""

        async def guarded(request: Request) -> Response:
            started = time.monotonic()
            try:
                return await handler(request, self._admitted(request, scope))
            except HttpError as error:
                refusal = error
            except (AdapterError, StorageError) as error:
                refusal = HttpError(503, str(error))
            route = MODELS if request.path_params else request.url.path  # clients make up the names of models
            self.metrics.answered(route, refusal.status, "", time.monotonic() - started, b"")
            return refusal.response(form(refusal) if form is not None else None)

        return guarded

    def _admitted(self, request: Request, scope: Scope) -> Caller:
        headers = request.headers
        bearer = headers.get("authorization") or (f"Bearer {key}" if (key := headers.get("x-api-key")) else "")
        caller = self._access.check(bearer, scope)
        if isinstance(caller, Refused):
            raise HttpError(caller.status, caller.message, retry_seconds=caller.retry_seconds)
        return caller

    async def _chat(self, request: Request, caller: Caller) -> Response:
        return await self._answer_chat(request, caller, await self._body(request))

    async def _responses(self, request: Request, caller: Caller) -> Response:
        return await self._dialects.responses(request, caller, await self._body(request))

    async def _messages(self, request: Request, caller: Caller) -> Response:
        return await self._dialects.messages(request, caller, await self._body(request))

    async def _answer_chat(self, request: Request, caller: Caller, body: dict[str, Any], session: str = "") -> Response:
        """Answer a chat request of any protocol. ``session``: the one that it continues, unless it names another."""
        started = time.monotonic()
        asked = json_body.check(body, ChatRequest).model
        if asked == AGENT and self.agent is not None:
            return await self._agent_turn(request, caller, body, session)
        body, first = with_further(body)
        shown = literal_chat({**body, "messages": await self._as_shown(body["messages"])}, self.markers())
        if body.get("tools") and not self.parallel():
            shown["parallel_tool_calls"] = False
        messages = body["messages"]
        turn = functools.cache(functools.partial(turn_key, caller.name, messages))
        session = request.headers.get(SESSION_HEADER) or session or conversation(messages)
        beside = self.shadow if self.shadow and self.shadow.takes(asked) else None
        model = self._route(ALIAS if beside is not None else asked, messages, turn, session, caller)
        routed = _Routed(body, shown, model, started, session, turn)
        if beside is not None:
            routed = replace(routed, body=(body := first_tools(body, first)), shown=first_tools(shown, first))
            own = self._model_request(request, caller, routed, model.logit_bias if may_call(body) else None)
            theirs = self._model_request(request, caller, replace(routed, shown=body, model=beside.model))
            return await beside.answer(request, Beside(theirs, own, body, caller.name))
        self.metrics.results_sent(messages, model.name)
        bias = model.logit_bias if may_call(body) else None
        made = lambda **change: self._model_request(request, caller, replace(routed, **change), bias)  # noqa: E731
        return await answer_chosen(request, self.proxy, made, routed, first, on=self.chooses)

    async def _as_shown(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if not smolagents_format.has_calls(messages):
            return messages
        apart = self.user_after_result()
        return await asyncio.to_thread(smolagents_format.as_shown, messages, task_after_result=apart)

    async def _agent_turn(self, request: Request, caller: Caller, body: dict[str, Any], session: str) -> Response:
        """Let the agent itself answer a chat request; the adapter that serves the session answers the whole turn."""
        assert self.agent is not None
        if self.pool.pick() is None:
            raise HttpError(503, UNAVAILABLE)
        session = self.agent.session(request, caller, body["messages"], session)
        model = self._route(ALIAS, [], str, session, caller)
        return await self.agent.answer(request, caller, body, session, model)

    async def _completions(self, request: Request, caller: Caller) -> Response:
        started = time.monotonic()
        body = await self._body(request)
        asked = json_body.check(body, CompletionRequest).model
        body = checked(prepared_answer, body)
        session = request.headers.get(SESSION_HEADER, "")
        model = self._route(asked, [], str, session, caller)
        routed = _Routed(body, body, model, started, session, chat=False)
        return await self.proxy.answer(request, self._model_request(request, caller, routed))

    async def _embed(self, request: Request, _: Caller) -> Response:
        asked = json_body.check(await self._body(request), EmbeddingsRequest)
        return await self._embeddings.answer(request, asked)

    def _model_request(
        self, request: Request, caller: Caller, routed: "_Routed", bias: dict[str, float] | None = None
    ) -> ModelRequest:
        model = routed.model
        sent = {**routed.shown, "model": model.name.removeprefix(UPSTREAM), **({"logit_bias": bias} if bias else {})}
        return ModelRequest(
            path=_CHAT if routed.chat else _COMPLETIONS,
            content=json.dumps(sent).encode(),
            stream=bool(routed.body.get("stream")),
            model=model,
            started=routed.started,
            log=request.headers.get(LOG_HEADER, ""),
            owner=Owner(caller.tenant, caller.name),
            turn=routed.turn,
            traceparent=request.headers.get(TRACE_HEADER, ""),
            headers={CHOICE_HEADER: json.dumps(routed.choice.model_dump(mode="json"))}
            if routed.choice is not None
            else {},
            exchange=lambda answer, latency_ms: Exchange(
                request=routed.body,
                response=answer,
                prompt_version=self.prompt_version(),
                adapter=model.name,
                adapter_sha256=model.sha256,
                session=routed.session,
                latency_ms=latency_ms,
                chat=routed.chat,
                owner=caller.name,
                tenant=caller.tenant,
                traceparent=request.headers.get(TRACE_HEADER, ""),
                choice=routed.choice,
            ),
        )

    def _route(
        self, asked: str, messages: list[Any], turn: Callable[[], str], session: str, caller: Caller
    ) -> RoutedModel:
        """Return the model that answers. The results of tools go to the adapter that made the calls.

        Raises HttpError for a name that no model can have, AdapterError where the pointer or a manifest is damaged.
        """
        model = self._router.find(asked) if asked != ALIAS else self._alias(messages, turn, session, caller)
        if model is None or not caller.may_ask(model.tenant):
            raise HttpError(404, f"there is no model {asked!r}; see {MODELS}", param="model")
        return model

    def _alias(self, messages: list[Any], turn: Callable[[], str], session: str, caller: Caller) -> RoutedModel | None:
        begun_by = self._turns.adapter(messages, Owner(caller.tenant, caller.name), turn)
        if begun_by is not None and not is_foreign(begun_by):
            began = self._router.intact(begun_by)
            if began is not None and caller.may_ask(began.tenant):  # whose calls these are, a client could make up
                return began
        on_trial = self._router.on_trial(session, caller.name, caller.tenant)
        if on_trial is not None and self.pool.is_due(on_trial.name):
            return on_trial
        own = self._router.active(caller.tenant)
        if own != self._router.active() and (own == BASE or self.pool.is_due(own)):
            return self._router.intact(own) or self._router.find(ALIAS)
        return self._router.find(ALIAS)

    async def _body(self, request: Request, hint: str = "") -> dict[str, Any]:
        return json_body.parse(await json_body.read(request, self._body_limit), hint)

    async def _feedback(self, request: Request, caller: Caller) -> Response:
        """Store a word on an interaction of the same key. The answer comes when both are on disk."""
        word = json_body.check(await self._body(request, hint=_FEEDBACK), FeedbackRequest, hint=_FEEDBACK)
        if self._log is None:
            raise HttpError(404, "nothing is logged here")
        try:
            expected = corrections.stored(word.expected, word.verdict)
        except UserError as error:
            raise HttpError(400, str(error), param="expected") from error
        note = word.note[:_LONGEST_NOTE]
        try:
            identity = await self._log.feedback(word.id, word.verdict, note, caller.name, expected=expected)
        except StorageError:
            raise
        except corrections.NoSuchCall as error:
            raise HttpError(400, str(error), param="expected") from error
        except UserError as error:
            raise HttpError(404, f"there is no interaction {word.id!r} of yours", param="id") from error
        return JSONResponse({"id": identity, "verdict": word.verdict})
