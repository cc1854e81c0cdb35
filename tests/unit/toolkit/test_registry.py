from pathlib import Path

import pytest

from toolkit.config import Config, ToolkitConfig, ToolsConfig, load_config
from toolkit.declare import Effect
from toolkit.errors import ConfigError
from toolkit.names import fitted
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
        assert len(properties) <= 5
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
    registry = ToolRegistry([Tool(name="a_b_c", description="", parameters={}, source=first, function="b\x1bC")])
    again = Tool(name="a_b_c", description="", parameters={}, source=second, function="b\x1bC")
    said = f"two tools are named a_b_c: {first} and {second}; rename one, or leave a source out of config.toml"
    if taken:
        with pytest.raises(NameTaken) as raised:
            registry.add_usable([again])
        assert str(raised.value) == said
    else:
        registry.add_usable([again])
        assert registry.left_out == [LeftOut(second, "b\ufffdC", said)]
    assert len(registry) == 1


def _of_a_server(name: str, function: str) -> Tool:
    return Tool(name=name, description="", parameters={}, source="mcp:x", module="x", function=function)


def test_names_that_look_alike_get_numbers_whatever_the_order() -> None:
    foreign = ["get-user", "get_user", "get.user", "getUser", "list1", "listl"]
    for order in (foreign, foreign[::-1]):
        registry = ToolRegistry()
        registry.add_usable([_of_a_server("x_list1" if name == "list1" else fitted("x", name), name) for name in order])
        assert {tool.function: tool.name for tool in registry} == {
            "get_user": "x_get_user",
            "get-user": "x_get_user_2",
            "get.user": "x_get_user_3",
            "getUser": "x_get_user_4",
            "list1": "x_list1",
            "listl": "x_listl_2",
        }
        assert [tool.function for tool in registry] == order, "the server's own order"
        assert registry.left_out == []


def test_a_name_that_looks_like_anothers_sources_gets_a_number() -> None:
    registry = ToolRegistry([Tool(name="x_load_1", description="", parameters={})])
    registry.add_usable([_of_a_server("x_load_l", "load_l")])
    assert registry.names() == ["x_load_1", "x_load_l_2"]


def test_what_is_left_out_is_told_in_a_few_lines() -> None:
    registry = ToolRegistry()
    assert registry.notes() == []
    registry.left_out = [LeftOut("python:math", "trunc", "needs a live object")]
    assert registry.notes() == ["1 functions of modules are no tools; see toolkit list --left-out"]
    registry.left_out += [LeftOut("mcp:a", f"tool{n}", "why") for n in range(7)]
    registry.left_out += [LeftOut("mcp:b", "(server)", "server b ended")]
    assert registry.notes() == [
        "mcp:b: server b ended",
        *(f"mcp:a: tool{n} is left out: why" for n in range(4)),
        "3 more are left out, 1 functions of modules are no tools; see toolkit list --left-out",
    ]


@pytest.mark.parametrize("key", ["modules", "python_modules"])
def test_a_module_that_is_named_twice_is_said(tmp_path: Path, key: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f"[toolkit.tools]\n{key} = ['math', 'cmath', 'math']\n")
    with pytest.raises(ConfigError, match=f"toolkit.tools.{key}: math is named twice; name it once"):
        load_config(file, Config)


def test_the_built_in_tools_can_be_left_out() -> None:
    assert len(load_tools(ToolkitConfig(tools=ToolsConfig(builtin=False)))) == 0
    assert "toolkit.builtin.text" in builtin_modules()
