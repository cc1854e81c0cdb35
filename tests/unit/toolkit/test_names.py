import pytest

from toolkit.errors import ConfigError
from toolkit.names import BadName, check_name, normalised
from toolkit.registry import ToolRegistry
from toolkit.tool import Tool


@pytest.mark.parametrize(
    "name",
    ["", "Add", "1add", "add tool", "add-tool", "аdd", "add\u200b", "ａdd", "__init__", "a__b", "add_", "_add", "eval",
     "open", "class", "match", "x" * 65, "add\n"],
)  # fmt: skip
def test_names_no_tool_may_have(name: str) -> None:
    with pytest.raises(BadName):
        check_name(name)


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (("time", "get_current_time"), "time_get_current_time"),
        (("My-Server", "getHTTPHeader"), "my_server_get_http_header"),
        (("fs", "read.file/now"), "fs_read_file_now"),
        (("statistics", "NormalDist"), "statistics_normal_dist"),
    ],
)
def test_foreign_names_are_brought_into_form(parts: tuple[str, ...], name: str) -> None:
    assert normalised(*parts) == name


@pytest.mark.parametrize("part", ["__class__", "_hidden", "lοad", "a\x1bb", "a(b)", "", "ﬁle"])
def test_foreign_names_that_would_need_guessing_are_refused(part: str) -> None:
    with pytest.raises(BadName):
        normalised("server", part)


@pytest.mark.parametrize(("first", "second"), [("load_1", "load_l"), ("a_bc", "ab_c"), ("go0", "goo")])
def test_names_that_look_alike_are_refused_naming_both_sources(first: str, second: str) -> None:
    registry = ToolRegistry([Tool(name=first, description="", parameters={}, source="builtin")])
    with pytest.raises(ConfigError, match=f"{first} and {second} look alike: builtin and mcp:x"):
        registry.add(Tool(name=second, description="", parameters={}, source="mcp:x"))


def test_a_refused_name_is_shown_without_its_strange_letters() -> None:
    with pytest.raises(ConfigError, match=r"mcp:x has a tool named '\\u0430dd': it holds CYRILLIC SMALL LETTER A"):
        ToolRegistry([Tool(name="аdd", description="", parameters={}, source="mcp:x")])
