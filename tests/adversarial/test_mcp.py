"""Attack 70: an MCP server that stalls, changes its tools, lists a million, crashes, or lies. At the wire."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from toolkit.config import McpServerConfig
from toolkit.mcp.servers import McpServers
from toolkit.registry import ToolRegistry
from toolkit.sandbox import Status

SERVER = Path(__file__).parents[1] / "fakes" / "mcp_raw_server.py"


@contextmanager
def _opened(mode: str, seconds: float = 60.0, **more: object) -> Iterator[tuple[McpServers, ToolRegistry]]:
    config = McpServerConfig(
        command=("python", "-S", str(SERVER), mode),
        bind=(SERVER,),
        timeout_seconds=seconds,
        **more,  # type: ignore[arg-type]
    )
    with McpServers({"raw": config}, output_kib=64) as servers:
        registry = ToolRegistry()
        servers.add_to(registry)
        yield servers, registry


def test_70_a_plain_server_works() -> None:
    with _opened("plain") as (servers, registry):
        assert {tool.name: tool.effect.value for tool in registry} == {"raw_echo": "reads", "raw_store": "writes"}
        assert "pattern" not in str(registry.get("raw_echo"))
        result = servers.run("raw", "echo", {"text": "hello"})
        assert (result.status, result.value) == (Status.OK, "hello")
        assert servers.run("raw", "echo", {"text": "fail"}).status is Status.TOOL_FAILED


def test_70_a_started_server_sees_nothing_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_SECRET", "tweet")
    monkeypatch.setenv("CANARY_GIVEN", "yes")
    with _opened("plain", environment=("CANARY_GIVEN",)) as (servers, _):
        assert set(servers.run("raw", "echo", {"text": "environment"}).value) <= {
            "CANARY_GIVEN", "HOME", "LC_CTYPE", "PATH", "PWD"
        }  # fmt: skip
        assert servers.run("raw", "echo", {"text": "files"}).value == []
        assert servers.run("raw", "echo", {"text": "network"}).value == []
        assert servers.run("raw", "echo", {"text": "user"}).value != [0]


@pytest.mark.parametrize("mode", ["silent", "stall_list"])
def test_70_a_server_that_stalls_at_the_start(mode: str) -> None:
    started = time.monotonic()
    with _opened(mode, seconds=3) as (_, registry):
        assert len(registry) == 0
        assert [each.name for each in registry.left_out] == ["(server)"]
        assert "raw does not" in registry.left_out[0].reason
    assert time.monotonic() - started < 60


def test_70_a_server_that_stalls_in_a_call() -> None:
    with _opened("stall_call") as (servers, _):
        result = servers.run("raw", "echo", {"text": "x"}, timeout_seconds=0.5)
        assert (result.status, result.message) == (Status.TIMEOUT, "no answer within 0.5 s")


@pytest.mark.parametrize("mode", ["million", "endless_pages"])
def test_70_a_server_that_lists_too_many_tools(mode: str) -> None:
    with _opened(mode, max_tools=20) as (_, registry):
        assert len(registry) == 20
        assert [(each.name, each.reason) for each in registry.left_out] == [
            ("(more)", "the server lists more than 20 tools")
        ]


def test_70_a_message_without_end() -> None:
    with _opened("long_line") as (_, registry):
        assert len(registry) == 0
        assert len(registry.left_out) == 1


def test_70_a_server_that_crashes_comes_back() -> None:
    with _opened("die_on_call") as (servers, registry):
        assert len(registry) == 2
        first, second = (servers.run("raw", "echo", {"text": "x"}) for _ in range(2))
        assert first.status is second.status is Status.CRASHED
        assert "server raw ended" in first.message


def test_70_a_server_that_changes_its_tools() -> None:
    with _opened("changing") as (servers, _):
        assert servers.run("raw", "echo", {"text": "x"}).ok
        end = time.monotonic() + 20
        while (changed := servers.run("raw", "echo", {"text": "x"})).ok and time.monotonic() < end:
            pass
        assert changed.status is Status.CRASHED
        assert "changed its tool echo; start again" in changed.message


def test_70_a_server_whose_tools_are_traps() -> None:
    with _opened("hostile_names") as (_, registry):
        assert registry.names() == ["raw_good", "raw_get_weather_now"]
        reasons = {each.name: each.reason for each in registry.left_out}
        assert len(reasons) == 7
        assert "\x1b" not in str(list(reasons))
        assert "refers to" in reasons["far"]
        assert "contains itself" in reasons["loop"]
        assert "no JSON schema" in reasons["wrong"]
        good = registry.get("raw_good")
        assert good is not None
        assert len(good.description) <= 400
        assert "<tool_call>" not in good.description
        assert "\x1b" not in good.description


def test_70_garbage_between_messages() -> None:
    with _opened("garbage") as (servers, registry):
        assert len(registry) == 2
        assert servers.run("raw", "echo", {"text": "x"}).value == "x"


def test_70_a_server_that_does_not_start_says_why() -> None:
    with _opened("complains") as (_, registry):
        assert registry.left_out[0].reason == "server raw ended: the licence \ufffd[31mhas expired"
