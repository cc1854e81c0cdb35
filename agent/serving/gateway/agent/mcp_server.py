"""The agent as an MCP server: the tool ``ask``, and where it is wanted the tools of this machine, sandboxed.

Questions go to the gateway as a client's do, so that keys, limits, sessions and the log are the same.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)

from agent.config import Config
from agent.errors import NO_SERVER
from agent.log.session_name import check_name
from agent.serving import serving_state
from agent.serving.gateway.agent.text import FIELD, MODEL
from agent.turn.model_client import SESSION_HEADER
from toolkit.errors import SandboxUnavailable, UserError
from toolkit.execute import Executor, open_executor
from toolkit.tool import Effect, ToolCall, render_result
from toolkit.tool import Tool as OwnTool

ASK = "ask"

_TOOL = Tool(
    name=ASK,
    description="Ask an agent that has tools of its own on this machine, and answers in a few sentences.",
    input_schema={
        "type": "object",
        "properties": {
            "message": {
                "type": "string",
                "minLength": 1,
                "description": "The question or the task, in whole sentences.",
            },
            "session": {
                "type": "string",
                "description": "The session of an earlier answer, to go on with that conversation.",
            },
        },
        "required": ["message"],
    },
)


@dataclass(frozen=True)
class Door:
    """The ways to the agent for one request. ``http`` leads to the gateway; ``tools`` None: only ``ask`` is there."""

    http: httpx.AsyncClient
    headers: Mapping[str, str] = field(default_factory=dict)
    tools: Executor | None = None
    workspace: Path | None = None


Context = ServerRequestContext[Any, Any]
Opened = Callable[[Context], Awaitable[Door]]


def build(opened: Opened) -> "Server[Any]":
    """Return the server; ``opened`` gives the door of each request, and raises UserError where there is none."""

    async def listed(context: Context, _: PaginatedRequestParams | None) -> ListToolsResult:
        door = await opened(context)
        own = [_described(tool) for tool in door.tools.registry if tool.name != ASK] if door.tools is not None else []
        return ListToolsResult(tools=[_TOOL, *own])

    async def called(context: Context, asked: CallToolRequestParams) -> CallToolResult:
        try:
            door = await opened(context)
            if asked.name == ASK:
                return await _ask(door, asked.arguments or {}, context)
            return await _call(door, asked)
        except (UserError, SandboxUnavailable, httpx.HTTPError) as error:
            return _result(str(error) or type(error).__name__, failed=True)

    return Server(MODEL, on_list_tools=listed, on_call_tool=called)


def serve_stdio(config: Config, *, tools: bool, session: str) -> None:
    """Serve one client on stdin and stdout until it leaves. ``session`` names the workspace of ``tools``.

    Raises UserError where no server of the data folder runs, or the tools cannot be opened.
    """
    check_name(session)
    anyio.run(_serve_stdio, config, tools, session)


async def _serve_stdio(config: Config, tools: bool, session: str) -> None:
    serving = serving_state.read(config.data_folder)
    if serving is None:
        raise UserError(NO_SERVER)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(to_gateway(serving.gateway_url))
        executor = stack.enter_context(open_executor(config.toolkit)) if tools else None
        workspace = config.data_folder / "workspaces" / session if tools else None
        if workspace is not None:
            workspace.mkdir(parents=True, exist_ok=True)
        door = Door(http, {"authorization": f"Bearer {serving.gateway_key}"}, executor, workspace)

        async def opened(_: Context) -> Door:
            return door

        server = build(opened)
        reading, writing = await stack.enter_async_context(stdio_server())
        await server.run(reading, writing, server.create_initialization_options())


@asynccontextmanager
async def to_gateway(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the gateway at ``url``."""
    # trust_env: a proxy of the environment must not get what is meant for this machine.
    verify = url.startswith("https:")
    async with httpx.AsyncClient(base_url=url, trust_env=False, verify=verify, timeout=None) as client:
        yield client


async def _ask(door: Door, arguments: Mapping[str, Any], context: Context) -> CallToolResult:
    message, session = arguments.get("message"), arguments.get("session") or ""
    if not isinstance(message, str) or not message.strip() or not isinstance(session, str):
        return _result("send message, a text that is not empty, and if you like session, a text", failed=True)
    headers = {**door.headers, **({SESSION_HEADER: session} if session else {})}
    body = {"model": MODEL, "messages": [{"role": "user", "content": message}], "stream": True}
    said, told, steps = "", {}, 0
    async with door.http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
        if answer.status_code != 200:
            return _result(_problem(await answer.aread()), failed=True)
        async for line in answer.aiter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = json.loads(line.removeprefix("data: "))
            if "error" in chunk:
                return _result(chunk["error"]["message"], failed=True)
            words = "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
            if FIELD not in chunk:
                said += words
                continue
            told |= {"id": chunk["id"], **chunk[FIELD]}
            if {"call", "result"} & chunk[FIELD].keys():
                said, steps = "", steps + 1
                await context.session.report_progress(float(steps), message=words.strip())
    named = {name: told.get(name, "") for name in ("id", "session", "stop_reason")}
    return _result(said.strip(), {"answer": said.strip(), **named}, failed=told.get("stop_reason") != "answered")


async def _call(door: Door, asked: CallToolRequestParams) -> CallToolResult:
    if door.tools is None:
        return _result(f"there is no tool {asked.name!r} here; there is: {ASK}", failed=True)
    call = ToolCall(id="mcp", name=asked.name, arguments=dict(asked.arguments or {}))
    executor, workspace = door.tools, door.workspace
    result = await anyio.to_thread.run_sync(lambda: executor.execute(call, workspace=workspace))
    return _result(render_result(result), failed=not result.ok)


def _described(tool: OwnTool) -> Tool:
    hints = ToolAnnotations(read_only_hint=tool.effect is not Effect.WRITES, open_world_hint=False)
    return Tool(name=tool.name, description=tool.description, input_schema=tool.parameters, annotations=hints)


def _problem(content: bytes) -> str:
    try:
        return str(json.loads(content)["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return content.decode("utf-8", "replace")[:500]


def _result(text: str, structured: dict[str, Any] | None = None, *, failed: bool) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=structured, is_error=failed)
