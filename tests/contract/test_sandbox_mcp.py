"""MCP servers that others wrote: one with the official SDK (both transports), and a published one."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.ports import listening, reserved
from tests.fakes.waiting import wait_until
from toolkit.config import Config, McpServerConfig, ToolkitConfig, ToolsConfig, load_config
from toolkit.errors import ConfigError
from toolkit.execute import Executor, open_executor
from toolkit.tool import ToolCall, ToolResult

SHOP = Path(__file__).parents[1] / "fakes" / "mcp_sdk_server.py"
SECONDS = 120.0
"""Generous: importing the SDK takes seconds on a busy machine."""


def _call(executor: Executor, name: str, **arguments: object) -> ToolResult:
    return executor.execute(ToolCall(id="1", name=name, arguments=arguments))  # type: ignore[arg-type]


def _config(**servers: McpServerConfig) -> ToolkitConfig:
    return ToolkitConfig(tools=ToolsConfig(builtin=False), mcp=servers)


@pytest.fixture(scope="module")
def http_shop() -> Iterator[str]:
    with reserved() as place:
        port = place.getsockname()[1]
        with subprocess.Popen([sys.executable, str(SHOP), str(port)], stderr=subprocess.DEVNULL) as server:
            try:
                wait_until(lambda: port in listening({server.pid}))
                yield f"http://127.0.0.1:{port}/mcp"
            finally:
                server.kill()


@pytest.fixture(params=["stdio", "http"])
def shop(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "http":
        config = McpServerConfig(url=request.getfixturevalue("http_shop"), timeout_seconds=SECONDS)
    else:
        config = McpServerConfig(command=("python", str(SHOP)), bind=(SHOP,), timeout_seconds=SECONDS)
    with open_executor(_config(shop=config)) as executor:
        yield executor


def test_a_server_built_with_the_sdk(shop: Executor) -> None:
    tools = {tool.name: tool for tool in shop.registry}
    assert shop.registry.left_out == []
    assert {name: tool.effect.value for name, tool in tools.items()} == {
        "shop_find_price": "reads",
        "shop_place_order": "writes",
    }
    price = tools["shop_find_price"]
    assert (price.source, price.description) == ("mcp:shop", "Find the price of an item.")
    assert price.parameters["properties"] == {"item": {"type": "string"}, "amount": {"default": 1, "type": "integer"}}
    assert _call(shop, "shop_find_price", item="apple", amount=4).value == 2.0
    assert _call(shop, "shop_place_order", items=["a", "b"]).value == {"ordered": 2}
    wrong = _call(shop, "shop_find_price", item="apple", amount="four")
    assert wrong.error is not None
    assert wrong.error.message == "'amount' must be integer, got \"four\"; write it as digits, without quotes"
    missing = _call(shop, "shop_find_price", item="pear")
    assert missing.error is not None
    assert "there is no pear" in missing.error.message


def test_a_published_server() -> None:
    config = McpServerConfig(command=("python", "-m", "mcp_server_time"), timeout_seconds=SECONDS)
    with open_executor(_config(time=config)) as executor:
        assert executor.registry.left_out == []
        assert "time_convert_time" in executor.registry.names()
        result = _call(executor, "time_convert_time", source_timezone="UTC", time="14:30", target_timezone="Asia/Tokyo")
        assert "23:30" in str(result.value)


def test_a_server_that_cannot_be_reached_is_shown() -> None:
    with open_executor(_config(off=McpServerConfig(url="http://127.0.0.1:9/mcp", timeout_seconds=SECONDS))) as executor:
        assert [(each.source, each.name) for each in executor.registry.left_out] == [("mcp:off", "(server)")]
        assert "server off" in executor.registry.left_out[0].reason


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[toolkit.mcp.x]\n", "give either command or url"),
        ('[toolkit.mcp.x]\nurl = "ftp://x"\n', "url must begin with http"),
        ('[toolkit.mcp.x]\ncommand = ["a"]\nport = 1\n', "unknown key toolkit.mcp.x.port"),
        ('[toolkit.mcp."Bad Name"]\ncommand = ["a"]\n', "toolkit.mcp.Bad Name"),
    ],
)
def test_a_wrong_table_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(file, Config)


def test_a_missing_program_is_shown() -> None:
    with open_executor(_config(gone=McpServerConfig(command=("no-such-program",)))) as executor:
        assert "there is no program no-such-program; install it" in executor.registry.left_out[0].reason
