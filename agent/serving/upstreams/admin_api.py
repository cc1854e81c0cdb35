"""The admin API for the evolver: vLLM's own protocol for adapters, done on every server behind the gateway.

It listens on a Unix socket with a random key, like vLLM itself; what it does not know goes to one of the servers. So
whoever loads an adapter need not know how many servers there are.
"""

import secrets
from collections.abc import Awaitable
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agent.adapters import active
from agent.errors import AdapterError, ModelUnavailable
from agent.http import http_error, json_body
from agent.http.http_error import HttpError
from agent.http.json_body import Body
from agent.serving.upstreams.connection import LOST, Connections
from agent.serving.upstreams.pool import UpstreamPool
from toolkit.errors import UserError

_BODY_LIMIT = 1 << 20

B = TypeVar("B", bound=Body)
Name = Annotated[str, Field(pattern=active.NAME_PATTERN)]


class LoadRequest(Body):
    """The body of ``POST /v1/load_lora_adapter``."""

    lora_name: Name
    lora_path: str


class UnloadRequest(Body):
    """The body of ``POST /v1/unload_lora_adapter``."""

    lora_name: Name


class AdminApi:
    """``app`` is the ASGI application; ``key`` is what it asks for."""

    def __init__(self, pool: UpstreamPool, connections: Connections) -> None:
        self.key = secrets.token_urlsafe(32)
        self._pool = pool
        self._connections = connections
        self.app = Starlette(
            routes=[
                Route("/v1/load_lora_adapter", self._load, methods=["POST"]),
                Route("/v1/unload_lora_adapter", self._unload, methods=["POST"]),
                Route("/{path:path}", self._pass_on, methods=["GET", "POST"]),
            ],
            exception_handlers=http_error.HANDLERS,
        )

    async def _load(self, request: Request) -> Response:
        body = await self._body(request, LoadRequest)
        return await self._changed(self._pool.load(body.lora_name, Path(body.lora_path)))

    async def _unload(self, request: Request) -> Response:
        body = await self._body(request, UnloadRequest)
        return await self._changed(self._pool.unload(body.lora_name))

    async def _body(self, request: Request, model: type[B]) -> B:
        self._admit(request)
        return json_body.check(json_body.parse(await json_body.read(request, _BODY_LIMIT)), model)

    async def _changed(self, change: Awaitable[None]) -> Response:
        try:
            await change
        except ModelUnavailable as error:
            raise HttpError(503, str(error)) from error
        except UserError as error:
            raise HttpError(404 if isinstance(error, AdapterError) else 400, str(error)) from error
        return Response("done")

    async def _pass_on(self, request: Request) -> Response:
        self._admit(request)
        member = self._pool.pick()
        if member is None:
            raise HttpError(503, "no model server is ready")
        try:
            path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            answer = await self._connections.send(member.upstream, request.method, path, await request.body() or None)
            return Response(await answer.read(), answer.status, media_type=answer.headers.get("content-type"))
        except LOST as error:
            raise HttpError(503, "the model server went away") from error

    def _admit(self, request: Request) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not secrets.compare_digest(given.encode(), self.key.encode()):
            raise HttpError(401, "wrong key")
