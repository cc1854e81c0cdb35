"""Attack 70: an MCP server that stalls, changes its tools, lists a million, crashes, or lies. At the wire."""

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.fakes.waiting import wait_until
from toolkit.config import McpServerConfig
from toolkit.mcp.servers import McpServers
from toolkit.registry import NameTaken, ToolRegistry
from toolkit.sandbox import Invocation, Status
from toolkit.tool import Tool

SERVER = Path(__file__).parents[1] / "fakes" / "mcp_raw_server.py"


@contextmanager
def opened(mode: str, seconds: float = 60.0, **more: object) -> Iterator[tuple[McpServers, ToolRegistry]]:
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
    with opened("plain") as (servers, registry):
        assert {tool.name: tool.effect.value for tool in registry} == {"raw_echo": "reads", "raw_store": "writes"}
        assert "pattern" not in str(registry.get("raw_echo"))
        result = servers.run(Invocation("raw", "echo", {"text": "hello"}))
        assert (result.status, result.value) == (Status.OK, "hello")
        assert servers.run(Invocation("raw", "echo", {"text": "fail"})).status is Status.TOOL_FAILED


def test_70_endless_complaints_stay_small() -> None:
    with opened("chatty") as (servers, _):
        assert servers.run(Invocation("raw", "echo", {"text": "still here"})).value == "still here"
        assert len(servers._connections["raw"]._complaints) <= 4096


def test_70_a_lost_call_is_repeated_only_where_that_is_harmless() -> None:
    with opened("die_on_second") as (servers, _):
        assert servers.run(Invocation("raw", "echo", {"text": "a"})).ok
        assert servers.run(Invocation("raw", "echo", {"text": "b"})).value == "b", "it only reads"
        assert servers.run(Invocation("raw", "store", {})).status is Status.CRASHED
        assert servers.run(Invocation("raw", "store", {})).ok


class _Flood(BaseHTTPRequestHandler):
    """Answers every request with a gigabyte, or with less that unpacks to as much."""

    def do_POST(self) -> None:
        packed = self.path == "/packed"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        if packed:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        part = gzip.compress(bytes(1 << 20)) if packed else b"[" * (1 << 20)
        try:
            for _ in range(1024):
                self.wfile.write(part)
                self.server.sent += len(part)  # type: ignore[attr-defined]
        except OSError:
            pass

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        return


@pytest.mark.parametrize("path", ["endless", "packed"])
def test_70_an_answer_without_end_over_http(path: str) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Flood) as flood:
        flood.sent = 0  # type: ignore[attr-defined]
        threading.Thread(target=flood.serve_forever, daemon=True).start()
        config = McpServerConfig(url=f"http://127.0.0.1:{flood.server_port}/{path}", timeout_seconds=60)
        with McpServers({"flood": config}, output_kib=64) as servers:
            registry = ToolRegistry()
            servers.add_to(registry)
        flood.shutdown()
    assert [each.name for each in registry.left_out] == ["(server)"]
    assert "answer within" not in registry.left_out[0].reason, "it was waited for, not broken off"
    assert flood.sent < 200 << 20  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", ["silent", "stall_list"])
def test_70_a_server_that_stalls_at_the_start(mode: str) -> None:
    with opened(mode, seconds=3) as (_, registry):
        assert len(registry) == 0
        assert [each.name for each in registry.left_out] == ["(server)"]
        assert "raw does not" in registry.left_out[0].reason


def test_70_a_server_that_stalls_in_a_call() -> None:
    with opened("stall_call") as (servers, _):
        result = servers.run(Invocation("raw", "echo", {"text": "x"}, timeout_seconds=0.5))
        assert (result.status, result.message) == (Status.TIMEOUT, "no answer within 0.5 s")


@pytest.mark.parametrize("mode", ["million", "endless_pages"])
def test_70_a_server_that_lists_too_many_tools(mode: str) -> None:
    with opened(mode, max_tools=20) as (_, registry):
        assert len(registry) == 20
        assert [(each.name, each.reason) for each in registry.left_out] == [
            ("(more)", "the server lists more than 20 tools")
        ]


def test_70_a_message_without_end() -> None:
    with opened("long_line") as (_, registry):
        assert len(registry) == 0
        assert len(registry.left_out) == 1


def test_70_a_server_that_crashes_comes_back() -> None:
    with opened("die_on_call") as (servers, registry):
        assert len(registry) == 2
        first, second = (servers.run(Invocation("raw", "echo", {"text": "x"})) for _ in range(2))
        assert first.status is second.status is Status.CRASHED
        assert "server raw ended" in first.message


def test_70_a_server_that_changes_its_tools() -> None:
    with opened("changing") as (servers, _):
        assert servers.run(Invocation("raw", "echo", {"text": "x"})).ok
        wait_until(lambda: not servers.run(Invocation("raw", "echo", {"text": "x"})).ok)
        changed = servers.run(Invocation("raw", "echo", {"text": "x"}))
        assert changed.status is Status.CRASHED
        assert "changed its tool echo; start again" in changed.message


def test_70_a_server_whose_tools_are_traps() -> None:
    with opened("hostile_names") as (_, registry):
        names = registry.names()
        assert names == [
            "raw_init",
            "raw_ec_o",
            "raw_good",
            "raw_" + "a" * 60,
            "raw_2_jx",
            "raw_get_weather_now",
            "raw_loop",
        ]
        reasons = {each.name: each.reason for each in registry.left_out}
        assert len(reasons) == 2
        assert "refers to http://192.0.2.1/schema, which is outside of it" in reasons["far"]
        assert "no JSON schema" in reasons["wrong"]
        loop, good = registry.get("raw_loop"), registry.get("raw_good")
        assert loop is not None
        assert loop.parameters["properties"] == {"x": {"type": "array", "items": {"type": "array"}}}
        assert good is not None
        assert len(good.description) <= 400
        assert "<tool_call>" not in good.description
        assert "\x1b" not in good.description


@pytest.mark.parametrize("width", [4, 8, 30])
def test_70_a_schema_that_unfolds_without_end_is_left_out_at_once(width: int) -> None:
    with opened(f"bomb{width}") as (servers, _):
        registry = ToolRegistry()
        started = time.process_time()
        servers.add_to(registry)
        assert time.process_time() - started < 1
        assert registry.names() == ["raw_echo"]
        assert [(each.name, "unfolds to too many fields" in each.reason) for each in registry.left_out] == [
            ("bomb", True)
        ]


@pytest.mark.parametrize("mode", ["bad_out", "out_bomb"])
def test_70_an_output_schema_is_not_checked_in_the_host(mode: str) -> None:
    with opened(mode) as (servers, registry):
        assert registry.names() == ["raw_echo", "raw_misfit"]
        result = servers.run(Invocation("raw", "misfit", {"text": "x"}))
        assert (result.status, result.value) == (Status.OK, {"x": "a"})
        assert servers.run(Invocation("raw", "echo", {"text": "still here"})).value == "still here"


def test_70_an_answer_that_the_sdk_refuses_is_a_bad_result(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> None:
        raise RuntimeError("no such \x1b[31mkind of answer")

    with opened("plain") as (servers, _):
        monkeypatch.setattr(servers._connections["raw"], "call", refuse)
        result = servers.run(Invocation("raw", "echo", {"text": "x"}))
    assert result.status is Status.BAD_RESULT
    assert result.message == "the answer was refused: no such \ufffd[31mkind of answer"


def test_70_a_list_that_is_not_mcps_costs_the_server_only() -> None:
    with opened("not_mcp") as (_, registry):
        assert [each.name for each in registry.lost_servers()] == ["(server)"]
        reason = registry.left_out[0].reason
        assert reason.startswith("server raw lists its tools in a form that is not MCP's: tools.1.inputSchema.type: ")


def test_70_a_server_that_takes_anothers_name_is_an_error() -> None:
    config = McpServerConfig(command=("python", "-S", str(SERVER), "plain"), bind=(SERVER,), timeout_seconds=60)
    mine = Tool(name="raw_echo", description="", parameters={}, source="module:mine")
    with (
        McpServers({"raw": config}, output_kib=64) as servers,
        pytest.raises(NameTaken, match="two tools are named raw_echo: module:mine and mcp:raw; rename one"),
    ):
        servers.add_to(ToolRegistry([mine]))


def test_70_garbage_between_messages() -> None:
    with opened("garbage") as (servers, registry):
        assert len(registry) == 2
        assert servers.run(Invocation("raw", "echo", {"text": "x"})).value == "x"


def test_70_a_server_that_does_not_start_says_why() -> None:
    with opened("complains") as (_, registry):
        assert registry.left_out[0].reason == "server raw ended: the licence \ufffd[31mhas expired"
