"""``/mcp``: the agent as an MCP server over streamable HTTP, behind the same keys, hosts and origins as every route.

Each request stands alone; the conversation of ``ask`` goes on by the name of its session.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.http.http_error import HttpError
from agent.serving.gateway.access.auth import Caller
from agent.serving.gateway.agent.turns import AgentTurns

if TYPE_CHECKING:
    from agent.serving.gateway.agent.mcp_server import Door

PATH = "/mcp"
WITH_TOOLS = "tools"
"""The parameter of the address that asks for the tools of this machine too: ``/mcp?tools=true``."""

_SESSION = "mcp"
_KEY_HEADERS = ("authorization", "x-api-key")
_NO_PACKAGE = "/mcp needs the package mcp on the server; install it: pip install 'apprentice-agent[mcp]'"


class McpRoute:
    """The ASGI application of ``/mcp``, which the first request starts and ``close`` ends.

    ``admitted`` returns the caller of a request, or raises HttpError; ``turns`` gives the agent's turns, None where no
    agent answers.
    """

    def __init__(
        self, admitted: Callable[[Request], Caller], turns: Callable[[], AgentTurns | None], body_limit: int
    ) -> None:
        self._admitted = admitted
        self._turns = turns
        self._body_limit = body_limit
        self._starting = asyncio.Lock()
        self._app: ASGIApp | None = None
        self._task: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            owner = self._admitted(Request(scope)).name
            app = await self._started()
        except HttpError as error:
            await error.response()(scope, receive, send)
            return
        await app({**scope, "state": {**scope.get("state", {}), "owner": owner}}, receive, send)

    async def close(self) -> None:
        self._ended.set()
        if self._task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _started(self) -> ASGIApp:
        async with self._starting:
            if self._app is None:
                turns = self._turns()
                if turns is None:
                    raise HttpError(404, "no agent answers here")
                ready: asyncio.Future[ASGIApp] = asyncio.get_running_loop().create_future()
                self._task = asyncio.create_task(self._serve(turns, ready))
                self._app = await ready
            return self._app

    async def _serve(self, turns: AgentTurns, ready: "asyncio.Future[ASGIApp]") -> None:
        try:
            async with _manager(turns, self._body_limit) as app:
                ready.set_result(app)
                await self._ended.wait()
        except ImportError:
            ready.set_exception(HttpError(501, _NO_PACKAGE))


@asynccontextmanager
async def _manager(turns: AgentTurns, body_limit: int) -> AsyncIterator[ASGIApp]:
    """Yield the SDK's application. Raises ImportError without the package mcp."""
    await asyncio.to_thread(__import__, "agent.serving.gateway.agent.mcp_server")  # it takes a second
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from mcp.server.transport_security import TransportSecuritySettings

    from agent.serving.gateway.agent.mcp_server import Door, build, to_gateway

    async with to_gateway(turns.gateway_url) as http:

        async def opened(context: Any) -> "Door":
            request: Request = context.request
            headers = {name: request.headers[name] for name in _KEY_HEADERS if name in request.headers}
            if request.query_params.get(WITH_TOOLS) != "true":
                return Door(http, headers)
            executor = (await asyncio.to_thread(turns.tools)).executor
            workspace = turns.data_folder / "workspaces" / f"{request.state.owner}~{_SESSION}"
            workspace.mkdir(parents=True, exist_ok=True)
            return Door(http, headers, executor, workspace)

        # Host and origin were checked by the gateway's own middleware.
        security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
        manager = StreamableHTTPSessionManager(
            build(opened), stateless=True, security_settings=security, max_request_body_size=body_limit
        )
        async with manager.run():
            yield manager.handle_request
