"""The tools of a client's request: what is refused, what the prompt shows, what reaches the server."""

import json
from typing import Any

import pytest

from agent.tools.schemas import BadTool, prepared, prepared_request
from evolver.model.prompts import signature
from tests.fakes.request_schemas import DEFINED, obj
from toolkit.config import ToolkitConfig
from toolkit.sources import load_local_tools
from toolkit.tool import Tool

NO_ARGUMENTS = {"type": "object", "properties": {}, "required": [], "additionalProperties": False, "const": {}}


def tool(parameters: Any = ..., name: str = "order") -> dict[str, Any]:
    function = {"name": name, "description": "Do it."}
    return {"type": "function", "function": function if parameters is ... else {**function, "parameters": parameters}}


def arguments(parameters: Any = ...) -> dict[str, Any]:
    return prepared([tool(parameters)])[0]["function"]["parameters"]


def shown(parameters: Any) -> str:
    """The tool as the prompt shows it."""
    return signature(Tool(name="order", description="Do it.", parameters=arguments(parameters)))


@pytest.mark.parametrize(
    "form",
    [
        ..., None, {}, {"type": "object"}, obj(), {"type": "object", "properties": None},
        {"type": "object", "properties": {}, "required": None}, {"properties": None, "required": None},
    ],
)  # fmt: skip
def test_a_tool_without_parameters_takes_none(form: Any) -> None:
    assert arguments(form) == NO_ARGUMENTS
    assert shown(form) == "order(): Do it."


def test_an_object_that_says_it_is_open_stays_open() -> None:
    assert arguments({"type": "object", "additionalProperties": True})["additionalProperties"] is True


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ({"type": "float"}, '.properties.x.type: "float" is none of array, boolean, integer, '),
        ({"type": []}, ".properties.x.type: [] is none of"),
        ({"enum": []}, ".properties.x.enum: [] is not a list of at least one value"),
        ({"anyOf": []}, ".properties.x.anyOf: [] is not a list of schemas"),
        ({"type": "array", "items": "string"}, '.properties.x.items: "string" is not a schema'),
        ({"type": "array", "items": {"type": "int"}}, '.properties.x.items.type: "int" is none of'),
        ({"type": "object", "properties": ["a"]}, '.properties.x.properties: ["a"] is not an object of schemas'),
        ({"type": "object", "required": "a"}, '.properties.x.required: "a" is not a list of names'),
        ({"type": "string", "minLength": -1}, ".properties.x.minLength: -1 is not a whole number from 0"),
        ({"type": "integer", "minimum": "0"}, '.properties.x.minimum: "0" is not a number'),
        ({"type": "string", "minLength": 3, "maxLength": 2}, ".properties.x.minLength: no value fits it: "),
        ({"allOf": [{"type": "string"}, {"type": "null"}]}, ".properties.x: no value fits it: its parts are of type"),
        ({"$ref": "#/$defs/absent"}, ".properties.x.$ref: refers to #/$defs/absent, which it lacks"),
        ({"$ref": "https://example.org/s.json"}, ".properties.x.$ref: refers to https://example.org/s.json, which is"),
        ("string", '.properties.x: "string" is no schema; write an object'),
        (None, ".properties.x: null is no schema"),
        (False, ".properties.x: no value fits it"),
    ],
)  # fmt: skip
def test_what_is_no_schema_is_refused_by_name(field: Any, problem: str) -> None:
    with pytest.raises(BadTool) as raised:
        prepared([tool(obj(), name="fine"), tool(obj(x=field))])
    assert str(raised.value).startswith(f"tools[1].function.parameters{problem}")
    assert str(raised.value).endswith("; correct the schema of the tool 'order'")
    assert raised.value.parameter.startswith("tools[1].function.parameters")


@pytest.mark.parametrize("whole", [[], "object", 3, {"type": "string"}, {"type": "array", "items": {}}])
def test_parameters_that_are_no_object_are_refused(whole: Any) -> None:
    with pytest.raises(BadTool, match=r"^tools\[0\]\.function\.parameters"):
        arguments(whole)


def test_what_is_no_function_is_left_to_others() -> None:
    others = [{"type": "web_search"}, "text", None, {"type": "function"}, {"type": "function", "function": 3}]
    assert prepared(others) == others


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ({"$ref": "#/$defs/line"}, "{sku: string, count: integer}"),
        ({"type": "array", "items": {"$ref": "#/$defs/line"}}, "array[{sku: string, count: integer}]"),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, "string | integer"),
        ({"anyOf": [{"$ref": "#/$defs/line"}, {"type": "null"}]}, "{sku: string, count: integer} | null"),
        ({"const": "air"}, '"air"'),
        ({"oneOf": [{"const": "none"}, {"const": "box"}]}, '"none" | "box"'),
        ({"allOf": [{"type": "string"}, {"enum": ["yes", "no"]}]}, '"yes" | "no"'),
        ({"allOf": [obj(a={"type": "string"}), obj(b={"type": "null"})]}, "{a: string, b: null}"),
        ({"allOf": [{"$ref": "#/$defs/line"}], "description": "What."}, "{sku: string, count: integer}"),
        ({"$ref": "#/$defs/node"}, "{name: string, next: object}"),
        ({"type": ["string", "null"]}, "string | null"),
        ({"type": "string", "nullable": True}, "string | null"),
        ({"properties": {"a": {"type": "string"}}}, "{a: string}"),
        (True, "any"),
        ({"type": "object", "default": {"title": "t", "$ref": "r"}}, 'object = {"title": "t", "$ref": "r"}'),
    ],
)  # fmt: skip
def test_the_prompt_shows_the_form_of_each_parameter(field: Any, expected: str) -> None:
    assert shown({**obj(x=field), **DEFINED}).splitlines()[0] == f"order(x: {expected}): Do it."


def test_a_reference_may_name_an_anchor() -> None:
    anchored = {
        "$anchor": "line",
        "type": "array",
        "items": {"type": "object", "properties": {"n": {"$ref": "#count"}}},
    }
    schema = {**obj(x={"$ref": "#line"}), "$defs": {"a": anchored, "b": {"$anchor": "count", "type": "integer"}}}
    assert shown(schema) == "order(x: array[{n: integer}]): Do it."
    assert "$anchor" not in json.dumps(arguments(schema))
    own = obj(next={"anyOf": [{"$ref": "#self"}, {"type": "null"}]}) | {"$anchor": "self"}
    assert shown(own) == "order(next: {next: object | null} | null): Do it."
    with pytest.raises(BadTool, match="refers to #other, which it lacks"):
        arguments(obj(x={"$ref": "#other"}))


def test_descriptions_inside_a_parameter_are_shown() -> None:
    line = {"type": "array", "items": {"$ref": "#/$defs/line"}, "description": "What to send."}
    assert shown({**obj(lines=line), **DEFINED}).splitlines()[1:] == [
        "  lines: What to send.",
        "  lines.sku: Code of the product.",
    ]


def test_descriptions_inside_a_parameter_are_bounded() -> None:
    wide = obj(**{f"f{n}": {"type": "string", "description": "d" * 300} for n in range(60)})
    lines = shown(obj(x=wide)).splitlines()[1:]
    assert len(lines) == 24
    assert {len(line.partition(": ")[2]) for line in lines} == {200}
    deep: Any = {"type": "string"}
    for _ in range(6):
        deep = {**obj(inner=deep), "description": "one more"}
    assert len(shown(obj(x=deep)).splitlines()[1:]) == 4, "the parameter's own, and three inside"


def test_alternatives_at_the_top_are_shown_as_one_list_of_parameters() -> None:
    either = {"oneOf": [obj(query={"type": "string"}), obj(query={"type": "string"}, limit={"type": "integer"})]}
    assert shown(either) == "order(query: string, limit?: integer): Do it."


def test_numbers_get_bounds_where_they_have_none() -> None:
    most = 999_999_999_999_999
    found = arguments(
        obj(
            plain={"type": "integer"},
            inside={"type": "array", "items": obj(a={"type": ["number", "null"]})},
            half={"type": "integer", "minimum": 0.5},
            both={"type": "number", "minimum": 0, "maximum": 1},
            far={"type": "integer", "maximum": 10**30},
            chosen={"type": "integer", "enum": [1, 2]},
        )
    )["properties"]
    assert found["plain"] == {"type": "integer", "minimum": -most, "maximum": most}
    assert found["inside"]["items"]["properties"]["a"] == {
        "type": ["number", "null"],
        "minimum": -most,
        "maximum": most,
    }
    assert found["half"] == {"type": "integer", "minimum": 1, "maximum": most}
    assert found["both"] == {"type": "number", "minimum": 0, "maximum": 1}
    assert found["far"] == {"type": "integer", "minimum": -most, "maximum": most}
    assert found["chosen"] == {"type": "integer", "enum": [1, 2]}


def test_a_few_kilobytes_that_unfold_to_millions_of_fields_are_refused_at_once() -> None:
    definitions = {f"d{n}": obj(**{f"f{k}": {"$ref": f"#/$defs/d{n + 1}"} for k in range(30)}) for n in range(1, 7)}
    bomb = {**obj(x={"$ref": "#/$defs/d1"}), "$defs": {**definitions, "d7": obj(a={"type": "string"})}}
    with pytest.raises(BadTool, match="unfolds to too many fields"):
        arguments(bomb)
    long = {"a": {"type": "string", "enum": ["e" * 100_000]}}
    with pytest.raises(BadTool, match="unfolds to too many fields"):
        arguments({**obj(**{f"f{n}": {"$ref": "#/$defs/a"} for n in range(9)}), "$defs": long})
    many = {**obj(**{f"f{n}": {"$ref": "#/$defs/a"} for n in range(900)}), "$defs": {"a": {"type": "string"}}}
    with pytest.raises(BadTool, match=r"^the tools have more than"):
        prepared([tool(many)] * 50)


def test_what_the_client_sent_is_not_changed() -> None:
    sent = [tool({**obj(x={"$ref": "#/$defs/line"}, n={"type": "integer"}), **DEFINED})]
    before = json.dumps(sent)
    prepared(sent)
    assert json.dumps(sent) == before


def test_own_tools_are_shown_as_in_lessons() -> None:
    tools = load_local_tools(ToolkitConfig())
    assert len(tools) > 50
    for each in tools:
        (sent,) = prepared([each.schema()])
        assert signature(each.model_copy(update={"parameters": sent["function"]["parameters"]})) == signature(each)


def test_the_schema_of_an_answer_is_checked_too() -> None:
    def form(schema: Any) -> dict[str, Any]:
        return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}}

    with pytest.raises(BadTool) as raised:
        prepared_request(form(obj(x={"type": "float"})))
    assert raised.value.parameter == "response_format.json_schema.schema.properties.x.type"
    assert prepared_request(form({**obj(x={"$ref": "#/$defs/t"}), "$defs": {"t": {"type": "string"}}})) == form(
        obj(x={"type": "string"})
    )
    for other in ({"type": "json_object"}, {"type": "json_schema"}, {"type": "json_schema", "json_schema": {}}):
        assert prepared_request({"response_format": other, "tools": None}) == {"response_format": other, "tools": None}
