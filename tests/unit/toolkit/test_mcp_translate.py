"""What a server says of its tools, and what becomes of it."""

from typing import Any

import pytest
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from mcp_types import Tool as ServerTool

from toolkit.declare import Effect
from toolkit.mcp.translate import repeatable, to_result, translate
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
