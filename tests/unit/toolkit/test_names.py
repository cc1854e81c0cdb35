import pytest

from toolkit.errors import ConfigError
from toolkit.names import BadName, check_name, fitted, numbered
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
        (("odd", "wetter_für_köln"), "odd_wetter_fur_koln"),
        (("odd", "Straße"), "odd_strasse"),
        (("odd", "trailing_"), "odd_trailing"),
        (("odd", "a__b"), "odd_a_b"),
        (("odd", "2fa"), "odd_2fa"),
        (("odd", "GET /v1/users/{id}"), "odd_get_v1_users_id"),
        (("odd", "__class__"), "odd_class"),
        (("odd", "lοad"), "odd_l_ad"),
        (("odd", "a\x1b[2Jb"), "odd_a_2_jb"),
        (("odd", "天气"), "odd"),
        (("odd", "x" * 70), "odd_" + "x" * 60),
        (("odd", "x" * 59 + "_y"), "odd_" + "x" * 59),
    ],
)
def test_foreign_names_are_brought_into_form(parts: tuple[str, ...], name: str) -> None:
    assert fitted(*parts) == name
    check_name(name)


@pytest.mark.parametrize("name", ["", "天气", "print", "2fa"])
def test_a_foreign_name_alone_may_not_be_enough(name: str) -> None:
    with pytest.raises(BadName):
        fitted(name)


@pytest.mark.parametrize("name", ["a", "x" * 64, "x" * 61 + "_yz"])
def test_a_number_fits_into_a_name(name: str) -> None:
    for number in (2, 10, 100):
        check_name(numbered(name, number))
        assert numbered(name, number).endswith(f"_{number}")


@pytest.mark.parametrize(("first", "second"), [("load_1", "load_l"), ("a_bc", "ab_c"), ("go0", "goo")])
def test_names_that_look_alike_are_refused_naming_both_sources(first: str, second: str) -> None:
    registry = ToolRegistry([Tool(name=first, description="", parameters={}, source="builtin")])
    with pytest.raises(ConfigError, match=f"{first} and {second} look alike: builtin and mcp:x"):
        registry.add(Tool(name=second, description="", parameters={}, source="mcp:x"))


def test_a_refused_name_is_shown_without_its_strange_letters() -> None:
    with pytest.raises(ConfigError, match=r"mcp:x has a tool named '\\u0430dd': it holds CYRILLIC SMALL LETTER A"):
        ToolRegistry([Tool(name="аdd", description="", parameters={}, source="mcp:x")])
