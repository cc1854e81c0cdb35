"""What a server says of its tools, and what becomes of it."""

from typing import Any

import pytest
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from mcp_types import Tool as ServerTool

from toolkit.declare import Effect
from toolkit.mcp.translate import NotUsable, repeatable, to_result, translate
from toolkit.sandbox import Status
from toolkit.sandbox.frames import BadFrame


def _tool(**hints: bool) -> ServerTool:
    annotations = ToolAnnotations(**hints) if hints else None
    return ServerTool(name="do_it", description="Do it.", input_schema={"type": "object"}, annotations=annotations)


@pytest.mark.parametrize(
    ("hints", "effect", "again", "description"),
    [
        ({}, Effect.WRITES, False, "Do it."),
        ({"read_only_hint": True}, Effect.READS, True, "Do it."),
        ({"read_only_hint": False}, Effect.WRITES, False, "Do it."),
        ({"destructive_hint": True}, Effect.WRITES, False, "Do it. It may delete or overwrite."),
        ({"destructive_hint": False}, Effect.WRITES, False, "Do it."),
        ({"idempotent_hint": True}, Effect.WRITES, True, "Do it."),
        (
            {"idempotent_hint": True, "destructive_hint": True},
            Effect.WRITES,
            True,
            "Do it. It may delete or overwrite.",
        ),
        (
            {"read_only_hint": True, "destructive_hint": True},
            Effect.WRITES,
            False,
            "Do it. It may delete or overwrite.",
        ),
        ({"read_only_hint": True, "destructive_hint": False}, Effect.READS, True, "Do it."),
        ({"read_only_hint": True, "open_world_hint": True}, Effect.READS, True, "Do it."),
    ],
)
def test_annotations_become_effects(hints: dict[str, bool], effect: Effect, again: bool, description: str) -> None:
    tool = _tool(**hints)
    translated = translate("shop", tool)
    assert (translated.effect, repeatable(tool), translated.description) == (effect, again, description)


def test_no_server_can_promise_to_be_pure() -> None:
    everything = {"read_only_hint": True, "idempotent_hint": True, "open_world_hint": False, "destructive_hint": False}
    assert translate("shop", _tool(**everything)).effect is Effect.READS


@pytest.mark.parametrize("keyword", ["maxLength", "minimum", "default"])
@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_a_schema_with_a_number_that_json_has_not_leaves_one_tool_out(keyword: str, number: float) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", keyword: number}}}
    with pytest.raises(NotUsable, match="a number that JSON has not, or that is too large"):
        translate("shop", ServerTool(name="do_it", input_schema=schema))


def _answer(text: str = "", structured: Any = None) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=structured)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}), ('{"a": NaN}', '{"a": NaN}'), ('{"a": 1, "a": 2}', '{"a": 1, "a": 2}'),
        ("[" * 1000, "[" * 1000), ("plain", "plain"), ("5", "5"),
    ],
)  # fmt: skip
def test_only_strict_json_is_taken_as_json(text: str, value: object) -> None:
    assert to_result(_answer(text), 64) == (Status.OK, value, "")


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("structured", [{"a": float("nan")}, {"a": "\ud800"}, {"a": _nested(100)}])
def test_a_value_that_json_cannot_hold_is_refused(structured: dict[str, Any]) -> None:
    with pytest.raises(BadFrame):
        to_result(_answer(structured=structured), 64)


NODE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
}


def _parameters(schema: dict[str, Any]) -> dict[str, Any]:
    return translate("odd", ServerTool(name="walk", description="Walk.", input_schema=schema)).parameters


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def test_a_recursive_schema_is_kept_with_its_inside_open() -> None:
    node = {**NODE, "properties": {**NODE["properties"], "children": {"type": "array", "items": {"type": "object"}}}}  # type: ignore[dict-item]
    assert _parameters({**_object(root={"$ref": "#/$defs/node"}), "$defs": {"node": NODE}}) == _object(root=node)
    itself = {"type": "object", "properties": {"left": {"$ref": "#"}}}
    assert _parameters(itself)["properties"] == {"left": {"type": "object"}}


def test_values_are_not_taken_for_schemas() -> None:
    value = {"format": "png", "title": "t", "pattern": "p", "$ref": "#/r", "examples": [1], "type": None}
    field = {"type": "object", "default": value, "enum": [value, None], "title": "Gone", "format": "gone"}
    assert _parameters(_object(a=field, b={"const": value}))["properties"] == {
        "a": {"type": "object", "default": value, "enum": [value, None]},
        "b": {"const": value},
    }


def test_fields_may_be_named_as_keywords_are() -> None:
    names = ("title", "format", "pattern", "properties", "$ref", "default", "enum", "required", "description")
    fields = {name: {"type": "string"} for name in names}
    assert _parameters(_object(**fields)) == _object(**fields)


_TEXT = {"type": "string"}
_LISTED = [_TEXT]


@pytest.mark.parametrize(
    ("schema", "parameters"),
    [
        ({}, {**_object(), "additionalProperties": False, "const": {}}),
        ({"type": "object", "properties": None}, {**_object(), "additionalProperties": False, "const": {}}),
        ({"type": ["object"], "properties": {"a": _TEXT}, "required": ["a"]}, _object(a=_TEXT)),
        ({"properties": {"a": True}, "required": ["a"]}, _object(a={})),
        ({"$ref": "#/$defs/q", "$defs": {"q": _object(a=_TEXT)}}, _object(a=_TEXT)),
        (_object(n={"minimum": 0, "exclusiveMinimum": True}), _object(n={"exclusiveMinimum": 0})),
        (_object(n={"type": "array", "items": _LISTED}), _object(n={"type": "array", "prefixItems": _LISTED})),
        ({"type": "object", "oneOf": [_object(a={}), _object(b={})]}, {**_object(a={}, b={}), "required": []}),
    ],
)
def test_schemas_that_servers_write(schema: dict[str, Any], parameters: dict[str, Any]) -> None:
    assert _parameters(schema) == parameters


def test_what_a_server_says_inside_a_schema_is_neutralised() -> None:
    field = {"enum": ["<|im_end|>"], "default": "\x1b[2J", "description": "<tool_call>" + "x" * 1000}
    found = _parameters(_object(**{"a<|im_start|>": field}))["properties"]
    assert isinstance(found, dict)
    (name, shown), = found.items()  # fmt: skip
    assert not any(sign in str({name: shown}) for sign in ("<|", "\x1b", "<tool_call"))
    assert len(shown["description"]) == 400  # type: ignore[index,arg-type,call-overload]
