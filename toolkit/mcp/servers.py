"""Connections to MCP servers: started or reached, listed, called, and ended, each with a deadline.

A server that does not start, stalls, crashes, changes its tools or lists too many costs its own tools only; what went
wrong is noted in the registry (``left_out``) or is the result of the call.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client, MCPError
from mcp_types import CallToolResult, Implementation, ToolListChangedNotification
from mcp_types import Tool as ServerTool
from pydantic import ValidationError

from toolkit.config import McpServerConfig
from toolkit.errors import UserError
from toolkit.mcp.isolation import GROUP_BYTES, GROUP_PROCESSES, isolated
from toolkit.mcp.translate import NotUsable, failed, fingerprint, repeatable, to_result, translate
from toolkit.mcp.transport import bounded_http, bounded_stdio
from toolkit.registry import SERVER, LeftOut, ToolRegistry
from toolkit.sandbox import ExecResult, Invocation, Runner, Status
from toolkit.sandbox.cgroup import Group, Groups, find_groups
from toolkit.tool import Tool, neutral

_MESSAGE_LIMIT = 8 << 20
_PAGES = 50
_RELIST_SECONDS = 60.0
_GRACE_SECONDS = 5.0


class ServerFailed(Exception):
    """The server cannot be used now; the message says why."""


class _Lost(ServerFailed):
    """The connection broke in a call; whether the call arrived is unknown."""


class McpServers(Runner):
    """All configured servers."""

    def __init__(self, servers: Mapping[str, McpServerConfig], *, output_kib: int) -> None:
        groups = find_groups()
        self._connections = {name: _Connection(name, config, groups) for name, config in servers.items()}
        self._output_kib = output_kib
        self._stack = contextlib.ExitStack()
        self._portal: BlockingPortal | None = None

    def __enter__(self) -> "McpServers":
        logging.getLogger("mcp").setLevel(logging.CRITICAL)
        self._portal = self._stack.enter_context(start_blocking_portal("asyncio"))
        self._stack.callback(self._portal.call, self._close_all)
        return self

    def close(self) -> None:
        self._stack.close()

    def add_to(self, registry: ToolRegistry) -> None:
        """Connect to each server and add its tools; what cannot be used goes to ``registry.left_out``.

        Raises NameTaken."""
        assert self._portal is not None
        futures = {name: self._portal.start_task_soon(each.listed) for name, each in self._connections.items()}
        for name, future in futures.items():
            source = f"mcp:{name}"
            try:
                tools = future.result()
            except (ServerFailed, UserError) as error:
                registry.left_out.append(LeftOut(source, SERVER, str(error)))
                continue
            if self._connections[name].more:
                limit = self._connections[name].config.max_tools
                registry.left_out.append(LeftOut(source, "(more)", f"the server lists more than {limit} tools"))
            registry.add_usable(_translated(name, tools, registry.left_out))

    def run(self, invocation: Invocation) -> ExecResult:
        """Call the tool ``function`` of the server ``module``; a server has no part in the workspace."""
        assert self._portal is not None
        connection = self._connections[invocation.module]
        limit = invocation.timeout_seconds or connection.config.timeout_seconds
        started = time.monotonic()
        future = self._portal.start_task_soon(connection.call, invocation.function, dict(invocation.arguments), limit)
        try:
            result = future.result(limit * 2 + _GRACE_SECONDS)
            status, value, message = to_result(result, self._output_kib)
        except (TimeoutError, FutureTimeout):
            future.cancel()
            return failed(Status.TIMEOUT, f"no answer within {limit:g} s", time.monotonic() - started)
        except (ServerFailed, UserError, CancelledError) as error:
            return failed(Status.CRASHED, str(error), time.monotonic() - started)
        except MCPError as error:
            return failed(Status.TOOL_FAILED, str(error)[:2000], time.monotonic() - started)
        except (ValueError, RecursionError) as error:
            return failed(Status.BAD_RESULT, f"the result is {error}"[:500], time.monotonic() - started)
        except RuntimeError as error:  # the SDK's own for an answer that it does not accept
            message = neutral(f"the answer was refused: {error}")[:500]
            return failed(Status.BAD_RESULT, message, time.monotonic() - started)
        return ExecResult(status, value, message=message, duration_ms=round((time.monotonic() - started) * 1000, 3))

    async def _close_all(self) -> None:
        for connection in self._connections.values():
            await connection.close()


def _translated(server: str, tools: list[ServerTool], left_out: list[LeftOut]) -> Iterator[Tool]:
    """The tools of ``server`` as ours; those that cannot be used are noted in ``left_out``."""
    for tool in tools:
        try:
            yield translate(server, tool)
        except NotUsable as error:
            left_out.append(LeftOut(f"mcp:{server}", neutral(tool.name)[:80], str(error)))


async def _unvalidated(name: str, result: CallToolResult) -> None:
    """Accept ``result`` without the server's output schema.

    The SDK would check it in the event loop that all servers share. A schema of a few KiB can take hours there, and no
    deadline ends it.
    """


class _Connection:
    """One server. Lives in the event loop of the portal; connects when needed, again after it was lost."""

    def __init__(self, name: str, config: McpServerConfig, groups: Groups) -> None:
        self.name = name
        self.config = config
        self._groups = groups
        self._group: Group | None = None
        self.more = False
        self._client: Client | None = None
        self._holder: asyncio.Task[None] | None = None
        self._complaints = bytearray()
        self._lock: asyncio.Lock | None = None
        self._prints: dict[str, str] = {}
        self._first: dict[str, str] = {}
        self._repeatable: frozenset[str] = frozenset()
        self._listed_at = 0.0

    async def listed(self) -> list[ServerTool]:
        """Connect and list. Raises ServerFailed or UserError."""
        client = await self._connected()
        tools = await self._list(client)
        self._first = dict(self._prints)
        return tools

    async def call(self, tool: str, arguments: dict[str, Any], seconds: float) -> Any:
        """Call a tool; a repeatable call that was lost once more. Raises TimeoutError, MCPError, ServerFailed."""
        try:
            return await self._call(tool, arguments, seconds)
        except _Lost:
            if tool not in self._repeatable:
                raise
            return await self._call(tool, arguments, seconds)

    async def _call(self, tool: str, arguments: dict[str, Any], seconds: float) -> Any:
        client = await self._connected()
        if time.monotonic() - self._listed_at > _RELIST_SECONDS:
            await self._list(client)
        if self._prints.get(tool) != self._first.get(tool):
            raise ServerFailed(f"server {self.name} changed its tool {neutral(tool)}; start again to use the new one")
        try:
            async with asyncio.timeout(seconds):
                return await client.call_tool(tool, arguments)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream):
            pass
        except MCPError as error:
            if self._holder is not None and not self._holder.done() and "closed" not in str(error).lower():
                raise
        if self._client is client:  # another call that was lost with it may have connected anew
            await self.close()
        raise _Lost(self._lost())

    async def close(self) -> None:
        holder, self._holder, self._client = self._holder, None, None
        if holder is not None:
            holder.cancel()
            await asyncio.wait({holder}, timeout=_GRACE_SECONDS)
        group, self._group = self._group, None
        if group is not None:
            await asyncio.to_thread(group.remove)

    async def _connected(self) -> Client:
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            if self._client is not None and self._holder is not None and not self._holder.done():
                return self._client
            await self.close()
            ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
            self._holder = asyncio.create_task(self._hold(ready))
            try:
                async with asyncio.timeout(self.config.timeout_seconds):
                    client = await asyncio.shield(ready)
            except TimeoutError:
                await self.close()
                raise ServerFailed(
                    f"server {self.name} does not answer within {self.config.timeout_seconds:g} s"
                ) from None
            self._client, self._listed_at = client, 0.0
            return client

    async def _hold(self, ready: "asyncio.Future[Client]") -> None:
        """Keep the connection open in one task, as the SDK's contexts want, until cancelled."""
        try:
            client = Client(
                self._transport(),
                read_timeout_seconds=self.config.timeout_seconds,
                message_handler=self._on_message,
                client_info=Implementation(name="apprentice", version="1"),
                cache=None,
            )
            async with client:
                client.session.validate_tool_result = _unvalidated
                ready.set_result(client)
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - a server's failure may be anything, also a group of them
            if not ready.done():
                shown = error if isinstance(error, UserError) else ServerFailed(self._lost(error))
                ready.set_exception(shown)

    def _transport(self) -> Any:
        if self.config.url:
            return bounded_http(self.config.url, _MESSAGE_LIMIT)
        self._complaints.clear()
        command = isolated(self.name, self.config)
        self._group = self._groups.make(memory_bytes=GROUP_BYTES, processes=GROUP_PROCESSES)
        return bounded_stdio(self._group.around(command) if self._group else command, self._complaints, _MESSAGE_LIMIT)

    async def _on_message(self, message: Any) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._listed_at = 0.0

    async def _list(self, client: Client) -> list[ServerTool]:
        tools: list[ServerTool] = []
        self.more = False
        cursor: str | None = None
        try:
            async with asyncio.timeout(self.config.timeout_seconds):
                for _ in range(_PAGES):
                    page = await client.list_tools(cursor=cursor)
                    tools += page.tools
                    cursor = page.next_cursor
                    if cursor is None or len(tools) > self.config.max_tools:
                        break
        except TimeoutError:
            raise ServerFailed(f"server {self.name} does not list its tools in time") from None
        except (MCPError, anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
            raise ServerFailed(self._lost(error)) from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ServerFailed(
                neutral(f"server {self.name} lists its tools in a form that is not MCP's: {where}: {first['msg']}")[
                    :500
                ]
            ) from None
        self.more = cursor is not None or len(tools) > self.config.max_tools
        tools = tools[: self.config.max_tools]
        self._prints = {tool.name: fingerprint(tool) for tool in tools}
        self._repeatable = frozenset(tool.name for tool in tools if repeatable(tool))
        self._listed_at = time.monotonic()
        return tools

    def _lost(self, error: BaseException | None = None) -> str:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        said = self._complaint() or (str(error) if error is not None else "")
        reached = "cannot be reached" if self.config.url else "ended"
        return neutral(f"server {self.name} {reached}{': ' + said if said else ''}")[:500]

    def _complaint(self) -> str:
        """The last line that a started server wrote to its standard error."""
        lines = self._complaints.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""
