from pathlib import Path

import pytest

from toolkit.config import Config, ToolkitConfig, ToolsConfig, load_config
from toolkit.declare import Effect
from toolkit.errors import ConfigError
from toolkit.registry import LeftOut, NameTaken, ToolRegistry
from toolkit.sources import builtin_modules, load_tools
from toolkit.tool import Tool


def test_the_built_in_tools_are_many_described_and_small() -> None:
    tools = list(load_tools(ToolkitConfig()))
    assert len(tools) >= 26
    assert len({tool.module for tool in tools}) >= 9
    for tool in tools:
        assert tool.description.endswith(".")
        assert len(tool.description) <= 100
        properties = tool.parameters["properties"]
        assert isinstance(properties, dict)
        assert len(properties) <= 4
        assert all(isinstance(field, dict) and field.get("description") for field in properties.values()), tool.name
    assert sum(tool.effect is Effect.READS for tool in tools) <= 4
    assert all(tool.sandbox_state for tool in tools if tool.effect is Effect.WRITES)


def test_two_tools_with_one_name_name_both_sources() -> None:
    registry = ToolRegistry([Tool(name="a", description="", parameters={}, source="builtin")])
    with pytest.raises(ConfigError, match=r"two tools are named a: builtin and module:mine"):
        registry.add(Tool(name="a", description="", parameters={}, source="module:mine"))
    assert (len(registry), registry.names()) == (1, ["a"])


@pytest.mark.parametrize(
    ("first", "second", "taken"),
    [
        ("mcp:a", "mcp:a_b", True), ("builtin", "mcp:a", True), ("python:x", "python:x.y", True),
        ("module:mine", "python:mine", True), ("mcp:a", "mcp:a", False),
    ],
)  # fmt: skip
def test_one_name_from_two_sources_is_an_error_from_one_is_left_out(first: str, second: str, taken: bool) -> None:
    registry = ToolRegistry([Tool(name="a_b_c", description="", parameters={}, source=first)])
    again = Tool(name="a_b_c", description="", parameters={}, source=second, function="b\x1bC")
    said = f"two tools are named a_b_c: {first} and {second}; rename one, or leave a source out of config.toml"
    if taken:
        with pytest.raises(NameTaken) as raised:
            registry.add_usable(again)
        assert str(raised.value) == said
    else:
        registry.add_usable(again)
        assert registry.left_out == [LeftOut(second, "b\ufffdC", said)]
    assert len(registry) == 1


def test_a_name_that_looks_like_anothers_is_left_out() -> None:
    registry = ToolRegistry([Tool(name="x_load_1", description="", parameters={})])
    registry.add_usable(Tool(name="x_load_l", description="", parameters={}, source="mcp:x", function="load_l"))
    assert (len(registry), "look alike: builtin and mcp:x" in registry.left_out[0].reason) == (1, True)


@pytest.mark.parametrize("key", ["modules", "python_modules"])
def test_a_module_that_is_named_twice_is_said(tmp_path: Path, key: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f"[toolkit.tools]\n{key} = ['math', 'cmath', 'math']\n")
    with pytest.raises(ConfigError, match=f"toolkit.tools.{key}: math is named twice; name it once"):
        load_config(file, Config)


def test_the_built_in_tools_can_be_left_out() -> None:
    assert len(load_tools(ToolkitConfig(tools=ToolsConfig(builtin=False)))) == 0
    assert "toolkit.builtin.text" in builtin_modules()
