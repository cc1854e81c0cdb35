"""The agent as an MCP server, asked by the official client."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from agent.config import GatewayConfig
from agent.log.interaction_log import InteractionLog
from agent.serving import serving_state
from agent.serving.gateway.access import api_keys
from tests.fakes.agent_gateway import running_agent
from tests.fakes.dialect_door import DialectDoor, dialect_door
from tests.fakes.model_server import ModelServer, Says

pytestmark = pytest.mark.filterwarnings("ignore")  # of other people's packages

SUM = Says("Let me see.", calls=[("add", '{"a": 1, "b": 2}')])
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DialectDoor]:
    with dialect_door(tmp_path_factory.mktemp("data")) as opened:
        yield opened


def over_http(url: str, work: Callable[[Client], Awaitable[Any]], key: str = "", query: str = "") -> Any:
    async def run() -> Any:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        async with (
            httpx_client(headers) as http,
            Client(streamable_http_client(f"{url}/mcp{query}", http_client=http)) as client,
        ):
            return await work(client)

    return asyncio.run(run())


def httpx_client(headers: dict[str, str]) -> Any:
    from mcp.shared._httpx_utils import create_mcp_http_client

    return create_mcp_http_client(headers=headers)


def test_ask_answers_with_the_tools_of_the_agent(door: DialectDoor) -> None:
    door.says(SUM, Says("It is 3."), Says("Nine."))
    told: list[str | None] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append(message)

    async def work(client: Client) -> Any:
        names = [tool.name for tool in (await client.list_tools()).tools]
        first = await client.call_tool("ask", {"message": "1 + 2?"}, progress_callback=note)
        session = first.structured_content["session"]
        second = await client.call_tool("ask", {"message": "squared?", "session": session})
        return names, first, second

    names, first, second = over_http(door.url, work)
    assert names == ["ask"]
    assert (first.content[0].text, first.is_error) == ("It is 3.", False)
    assert [message for message in told if message] == ["> → add(a=1, b=2)", "> ← 3"]
    assert second.content[0].text == "Nine."
    one, other = door.logged(2)
    assert (one.source, one.session) == ("apprentice", other.session)
    assert len(other.trajectory.history) == 4
    assert one.reference == first.structured_content["id"]


def test_the_tools_are_there_where_they_are_asked_for(door: DialectDoor) -> None:
    async def work(client: Client) -> Any:
        names = [tool.name for tool in (await client.list_tools()).tools]
        return names, await client.call_tool("add", {"a": 1, "b": 2}), await client.call_tool("add", {"a": "x"})

    names, good, bad = over_http(door.url, work, query="?tools=true")
    assert names == ["ask", "add", "square", "count"]
    assert (good.content[0].text, good.is_error) == ("3", False)
    assert bad.is_error
    assert door.tools.workspaces[-1] is not None
    assert door.tools.workspaces[-1].name == "~mcp"

    async def without(client: Client) -> Any:
        return await client.call_tool("add", {"a": 1, "b": 2})

    refused = over_http(door.url, without)
    assert refused.is_error
    assert "there is: ask" in refused.content[0].text


def test_a_question_that_fails_is_an_error_of_the_tool(door: DialectDoor) -> None:
    door.says(Says("too long", status=400))

    async def work(client: Client) -> Any:
        return await client.call_tool("ask", {"message": "hi"}), await client.call_tool("ask", {"message": " "})

    failed, empty = over_http(door.url, work)
    assert failed.is_error
    assert "too long" in failed.content[0].text
    assert empty.is_error


def test_keys_and_origins_count_as_everywhere(tmp_path: Path) -> None:
    key = api_keys.create(tmp_path, "alice", ["chat"], "")

    async def ask(client: Client) -> Any:
        return await client.call_tool("ask", {"message": "hi"})

    with (
        ModelServer(Says("Hello.")) as server,
        InteractionLog(tmp_path / "interactions.db") as log,
        running_agent(tmp_path, server, log, GatewayConfig(require_key=True)) as (_, url, _),
    ):
        assert over_http(url, ask, key).content[0].text == "Hello."
        assert log.read()[0].owner == "alice"
        stranger = httpx.post(f"{url}/mcp", json={}, trust_env=False)
        page = {"origin": "https://evil.example", "authorization": f"Bearer {key}"}
        assert (stranger.status_code, httpx.post(f"{url}/mcp", json={}, headers=page, trust_env=False).status_code) == (
            401,
            403,
        )


def test_the_command_serves_over_stdio(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('data_folder = "."\n')

    async def run() -> Any:
        command = ["-m", "agent.cli", "mcp", "--config", f"{tmp_path}/config.toml"]
        parameters = StdioServerParameters(command=sys.executable, args=command, env=dict(os.environ), cwd=ROOT)
        async with Client(stdio_client(parameters)) as client:
            return await client.call_tool("ask", {"message": "1 + 2?"})

    with (
        ModelServer(SUM, Says("It is 3.")) as server,
        InteractionLog(tmp_path / "interactions.db") as log,
        running_agent(tmp_path, server, log) as (gateway, url, _),
    ):
        state = serving_state.ServingState(
            pid=os.getpid(), gateway_url=url, gateway_key=gateway.own_key, vllm_url=url, vllm_key="", vllm_pid=0
        )
        serving_state.write(tmp_path, state)
        answer = asyncio.run(run())
    assert (answer.content[0].text, answer.is_error) == ("It is 3.", False)
