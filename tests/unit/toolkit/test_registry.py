import pytest

from toolkit.config import ToolkitConfig, ToolsConfig
from toolkit.declare import Effect
from toolkit.errors import ConfigError
from toolkit.registry import ToolRegistry, builtin_modules, load_tools
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
        assert len(properties) <= 3
        assert all(isinstance(field, dict) and field.get("description") for field in properties.values()), tool.name
    assert sum(tool.effect is Effect.READS for tool in tools) <= 2
    assert all(tool.sandbox_state for tool in tools if tool.effect is Effect.WRITES)


def test_two_tools_with_one_name_name_both_sources() -> None:
    registry = ToolRegistry([Tool(name="a", description="", parameters={}, source="builtin")])
    with pytest.raises(ConfigError, match=r"two tools are named a: builtin and module:mine"):
        registry.add(Tool(name="a", description="", parameters={}, source="module:mine"))
    assert (len(registry), registry.names()) == (1, ["a"])


def test_the_built_in_tools_can_be_left_out() -> None:
    assert len(load_tools(ToolkitConfig(tools=ToolsConfig(builtin=False)))) == 0
    assert "toolkit.builtin.text" in builtin_modules()
