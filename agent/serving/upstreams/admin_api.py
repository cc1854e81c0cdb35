"""The door for the evolver: vLLM's own protocol for adapters, done on every server behind the gateway.

It listens on loopback with a random key, like vLLM itself; what it does not know goes to one of the servers. So whoever
loads an adapter need not know how many servers there are.
"""

import json
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agent.errors import AdapterError, ModelUnavailable
from agent.serving.fleet import Fleet
from agent.serving.upstream import LOST, Connections
from toolkit.errors import UserError


class AdminDoor:
    """``app`` is the ASGI application; ``key`` is what it asks for."""

    def __init__(self, fleet: Fleet, connections: Connections) -> None:
        self.key = secrets.token_urlsafe(32)
        self._fleet = fleet
        self._connections = connections
        self.app = Starlette(
            routes=[
                Route("/v1/load_lora_adapter", self._load, methods=["POST"]),
                Route("/v1/unload_lora_adapter", self._unload, methods=["POST"]),
                Route("/{path:path}", self._pass_on, methods=["GET", "POST"]),
            ]
        )

    async def _load(self, request: Request) -> Response:
        async def change(body: dict[str, str]) -> None:
            await self._fleet.load(body["lora_name"], Path(body["lora_path"]))

        return await self._changed(request, change)

    async def _unload(self, request: Request) -> Response:
        async def change(body: dict[str, str]) -> None:
            await self._fleet.unload(body["lora_name"])

        return await self._changed(request, change)

    async def _changed(self, request: Request, change: Callable[[dict[str, str]], Awaitable[None]]) -> Response:
        if refused := self._refused(request):
            return refused
        try:
            await change(json.loads(await request.body()))
        except (ValueError, KeyError, TypeError) as error:
            return _error(400, f"not understood: {error!r}")
        except ModelUnavailable as error:
            return _error(503, str(error))
        except UserError as error:
            return _error(404 if isinstance(error, AdapterError) else 400, str(error))
        return Response("done")

    async def _pass_on(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        member = self._fleet.pick()
        if member is None:
            return _error(503, "no model server is ready")
        try:
            path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            answer = await self._connections.send(member.upstream, request.method, path, await request.body() or None)
            return Response(await answer.read(), answer.status, media_type=answer.headers.get("content-type"))
        except LOST:
            return _error(503, "the model server went away")

    def _refused(self, request: Request) -> Response | None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if secrets.compare_digest(given.encode(), self.key.encode()):
            return None
        return _error(401, "wrong key")


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": "apprentice", "param": None, "code": status}}, status)
