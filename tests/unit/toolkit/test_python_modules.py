"""Functions of Python modules as tools: their description (no sandbox needed for the standard library) and the call."""

import ast
from typing import Any

import pytest

from toolkit import inspecting, python_call, stubs
from toolkit.tool import Tool


def _offered(module: str) -> tuple[dict[str, Tool], dict[str, str]]:
    found = inspecting.offered(module)
    tools = [Tool.model_validate(each) for each in found["tools"]]
    return {tool.name: tool for tool in tools}, dict(found["left_out"])


def _call(tool: Tool, **arguments: Any) -> Any:
    binding: Any = tool.binding
    return python_call.call(tool.module, tool.function, binding, arguments)


@pytest.mark.parametrize(
    ("annotation", "schema", "convert"),
    [
        ("int", {"type": "integer"}, ""),
        ("SupportsIndex", {"type": "integer"}, ""),
        ("float | int", {"type": "number"}, ""),
        ("str | None", {"type": "string"}, ""),
        ("bytes | str", {"type": "string"}, ""),
        ("Iterable[float]", {"type": "array", "items": {"type": "number"}}, ""),
        ("list[date]", {"type": "array", "items": {"type": "string", "description": "As 2024-03-01."}}, "list:date"),
        ("set[int]", {"type": "array", "items": {"type": "integer"}}, "set"),
        ("dict[str, int]", {"type": "object", "additionalProperties": {"type": "integer"}}, ""),
        ("Literal['a', 'b']", {"enum": ["a", "b"]}, ""),
        ("tuple[int, int]", {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}, "tuple"),
        ("Optional[bool]", {"type": "boolean"}, ""),
    ],
)
def test_types_of_stubs_become_schemas(annotation: str, schema: dict[str, Any], convert: str) -> None:
    shape = stubs.shape_of(ast.parse(annotation, mode="eval").body, "math")
    assert (shape.schema, shape.convert) == (schema, convert)


@pytest.mark.parametrize("annotation", ["Callable[[int], int]", "IO[str]", "re.Match[str]", "list[socket]", "unknown"])
def test_live_objects_have_no_schema(annotation: str) -> None:
    with pytest.raises(stubs.NoShape):
        stubs.shape_of(ast.parse(annotation, mode="eval").body, "math")


def test_type_variables_stand_for_their_constraints() -> None:
    assert stubs.shape_of(ast.Name("_NumberT"), "statistics").schema == {"type": "number"}


@pytest.mark.parametrize(
    ("module", "name", "arguments", "answer"),
    [
        ("math", "math_sqrt", {"x": 16}, 4.0),
        ("math", "math_gcd", {"integers": [12, 18]}, 6),
        ("math", "math_perm", {"n": 5, "k": 2}, 20),
        ("statistics", "statistics_median", {"data": [3, 1, 2]}, 2),
        ("textwrap", "textwrap_shorten", {"text": "hello big world", "width": 11}, "hello [...]"),
        ("datetime", "datetime_date_weekday", {"value": "2024-03-01"}, 4),
        ("datetime", "datetime_date_year", {"value": "2024-03-01"}, 2024),
        ("fractions", "fractions_fraction_limit_denominator", {"value": "31416/10000", "max_denominator": 10}, "22/7"),
        ("urllib.parse", "urllib_parse_quote", {"string": "a b"}, "a%20b"),
        ("base64", "base64_b64encode", {"s": "hello"}, b"aGVsbG8="),
        ("ipaddress", "ipaddress_ipv4_address_is_private", {"value": "192.168.1.1"}, True),
        ("colorsys", "colorsys_rgb_to_hsv", {"r": 1, "g": 0, "b": 0}, (0.0, 1.0, 1)),
        (
            "difflib",
            "difflib_get_close_matches",
            {"word": "appel", "possibilities": ["ape", "apple"]},
            ["apple", "ape"],
        ),
        ("posixpath", "posixpath_join", {"a": "x", "paths": ["y", "z"]}, "x/y/z"),
        ("operator", "operator_concat", {"a": [1], "b": [2]}, [1, 2]),
        ("re", "re_sub", {"pattern": "a", "repl": "b", "string": "banana", "count": 1}, "bbnana"),
    ],
)
def test_functions_are_called_as_they_want(module: str, name: str, arguments: dict[str, Any], answer: Any) -> None:
    found = _call(_offered(module)[0][name], **arguments)
    assert (str(found) if isinstance(answer, str) else found) == answer


def test_what_cannot_be_described_is_reported_with_its_reason() -> None:
    _, left_out = _offered("re")
    assert left_out["compile"] == "needs Pattern[AnyStr], a live object"
    assert _offered("heapq")[1]["heapify"] == "returns nothing"
    assert _offered("builtins")[1]["eval"] == "needs the program or the files around it"


def test_effects() -> None:
    assert _offered("math")[0]["math_sqrt"].effect == "pure"
    assert _offered("random")[0]["random_randint"].effect == "reads"
    assert _offered("datetime")[0]["datetime_date_today"].effect == "reads"
    unknown = _offered("locale")[0]
    assert {tool.effect for tool in unknown.values()} == {"writes"}
    assert all(tool.sandbox_state for tool in unknown.values())


def test_descriptions_are_short_sentences() -> None:
    tools, _ = _offered("math")
    assert tools["math_sqrt"].description == "Return the square root of x."
    assert all(0 < len(tool.description) <= 160 for tool in tools.values())


def test_a_wrong_value_names_the_parameter() -> None:
    tool = _offered("datetime")[0]["datetime_date_weekday"]
    with pytest.raises(ValueError, match="value 'yesterday' is no date"):
        _call(tool, value="yesterday")


def test_a_gap_between_positional_arguments_is_refused() -> None:
    binding = [["a", "positional", ""], ["b", "positional", ""]]
    with pytest.raises(ValueError, match="b is given but a"):
        python_call.call("operator", "add", binding, {"b": 1})
