"""Routes about the gateway itself: the models that may be asked, its health and its figures."""

import json
import time
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from agent.errors import AdapterError
from agent.http.address import socket_path
from agent.http.http_error import HttpError
from agent.serving.gateway.access.auth import Caller
from agent.serving.gateway.agent.text import MODEL as AGENT
from agent.serving.gateway.capture_log import CaptureLog
from agent.serving.gateway.metrics import CONTENT_TYPE, Metrics
from agent.serving.gateway.model_routing import ALIAS, ModelRouter
from agent.serving.upstreams.connection import LOST, Connections
from agent.serving.upstreams.pool import Member, UpstreamPool

MODELS = "/v1/models"
SERVERS = "/servers"
UNAVAILABLE = "the model server is starting or has stopped; try again in a minute, or look at: agent serve"
_QUERY_SECONDS = 10


class StatusRoutes:
    """Handlers of ``/v1/models``, ``/health``, ``/servers`` and ``/metrics``.

    ``has_agent``: whether ``apprentice`` answers too.
    """

    def __init__(
        self,
        pool: UpstreamPool,
        connections: Connections,
        metrics: Metrics,
        router: ModelRouter,
        log: CaptureLog | None,
        has_agent: Callable[[], bool],
    ) -> None:
        self._pool, self._connections, self._metrics = pool, connections, metrics
        self._router, self._log, self._has_agent = router, log, has_agent
        self._add_gauges()

    async def models(self, _: Request, caller: Caller) -> Response:
        """Answer with the models that may be asked."""
        return JSONResponse(await self._listed(caller))

    async def model(self, request: Request, caller: Caller) -> Response:
        """Answer with one model. Raises HttpError where there is none of that name."""
        name = request.path_params["name"]
        for model in (await self._listed(caller))["data"]:
            if model["id"] == name:
                return JSONResponse(model)
        raise HttpError(404, f"there is no model {name!r}; see {MODELS}", param="model")

    async def _listed(self, caller: Caller) -> dict[str, Any]:
        """Return all models that answer ``caller``. Raises HttpError if nobody knows them now, AdapterError if the
        pointer is damaged."""
        content = await self._ask_a_server(MODELS)
        if content is None:
            raise HttpError(503, UNAVAILABLE)
        models = json.loads(content)
        own = [ALIAS, AGENT] if self._has_agent() else [ALIAS]
        root = {"created": int(time.time()), "owned_by": "apprentice", "root": self._router.active(caller.tenant)}
        models["data"] = [model for model in models["data"] if self._answers(model["id"], caller)]
        models["data"][:0] = [{"id": name, "object": "model", **root} for name in own]
        return models

    def _answers(self, name: str, caller: Caller) -> bool:
        try:
            model = self._router.find(name)
        except AdapterError:
            return True  # whoever asks for it hears what is wrong
        return model is not None and caller.may_ask(model.tenant)

    async def figures(self, _: Request, __: Caller) -> Response:
        """Answer with the figures, in Prometheus' text format."""
        try:
            active = self._router.active()
        except AdapterError:
            active = None
        return Response(self._metrics.text(active), headers={"content-type": CONTENT_TYPE})

    async def health(self, _: Request) -> Response:
        """Answer whether requests would be answered, and by which adapter."""
        members = self._pool.members
        problem = ""
        try:
            adapter = self._router.active()
        except AdapterError as error:
            adapter, problem = None, str(error)
        if self._pool.pick() is None or await self._ask_a_server("/health") is None:
            problem = UNAVAILABLE
        state: dict[str, Any] = {"vllm_pid": members[0].upstream.pid or None if members else None, "adapter": adapter}
        if len(members) > 1:
            state["servers"] = [{"ready": member.ready, "trouble": member.trouble} for member in members]
        if self._log is not None:
            state["log_failures"] = self._log.failures
        if problem:
            return JSONResponse({"status": "unavailable", "problem": problem, **state}, 503)
        return JSONResponse({"status": "ok", **state})

    async def servers(self, _: Request, __: Caller) -> Response:
        """Answer with the servers behind the gateway: the kind of address, the state, the adapters, the requests that
        each is answering or lets wait."""
        return JSONResponse({"servers": [_told(member) for member in self._pool.members]})

    async def _ask_a_server(self, path: str) -> bytes | None:
        """Return the body of one server's answer; None if no server gives one."""
        if (member := self._pool.pick()) is None:
            return None
        try:
            answer = await self._connections.send(member.upstream, "GET", path, seconds=_QUERY_SECONDS)
            return await answer.read() if answer.status == 200 else None
        except LOST:
            return None

    def _add_gauges(self) -> None:
        gauge = self._metrics.gauge
        gauge("apprentice_requests_in_flight", "Requests that vLLM is answering.", lambda: self._pool.in_flight)
        gauge("apprentice_servers", "vLLM servers.", lambda: len(self._pool.members))
        gauge(
            "apprentice_servers_ready",
            "vLLM servers that get requests.",
            lambda: sum(member.ready for member in self._pool.members),
        )
        if (log := self._log) is not None:
            gauge("apprentice_log_queue_depth", "Exchanges that wait to be written.", lambda: log.depth)
            gauge("apprentice_log_failures", "Exchanges that could not be written.", lambda: log.failures)


def _told(member: Member) -> dict[str, Any]:
    """Return what is known of a server, without its address and its key."""
    url = member.upstream.url
    return {
        "address": "Unix socket" if socket_path(url) is not None else "HTTPS" if url.startswith("https:") else "HTTP",
        "pid": member.upstream.pid or None,
        "ready": member.ready,
        "trouble": member.trouble,
        "adapters": None if member.adapters is None else sorted(member.adapters),
        "in_flight": member.in_flight,
    }
