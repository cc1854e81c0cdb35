"""Descriptions to definitions: judged against the tools that exist, and lessons that are true."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver.definitions import define, definition_rows, in_words, true_definition
from evolver.generate import Generator
from evolver.types import Defined
from tests.fakes import shop_tools
from tests.fakes.model_server import ModelServer, Says
from toolkit.config import ToolkitConfig
from toolkit.describing import describe
from toolkit.sources import load_local_tools
from toolkit.tool import Tool

LABEL, BOXES = (describe(function) for function in (shop_tools.shout_label, shop_tools.box_count))
RIGHT: dict[str, Any] = {
    "name": "count_boxes",
    "parameters": {"eggs": "integer", "box_size": "integer"},
    "required": ["box_size", "eggs"],
}


def defined(text: Any, tools: list[Tool], limit: int = 9) -> tuple[Defined, list[dict[str, Any]]]:
    said = text if isinstance(text, str) else json.dumps(text)

    def script(request: dict[str, Any]) -> Says:
        return Says(raw=json.dumps({"choices": [{"text": said, "finish_reason": "stop"}]}).encode())

    with ModelServer(script=script) as server, Generator(server.url, concurrency=2) as generator:
        return define(tools, generator, limit=limit, seed=1), server.requests


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"name": "whatever"}, ""),
        ({"parameters": {"eggs": "integer"}}, "other_parameters"),
        ({"parameters": {**RIGHT["parameters"], "color": "string"}}, "other_parameters"),
        ({"parameters": {**RIGHT["parameters"], "eggs": "number"}}, "wrong_type"),
        ({"required": ["eggs"]}, "wrong_required"),
        ({"required": "eggs"}, "cut_off"),
    ],
)
def test_a_definition_is_right_in_parameters_types_and_what_is_required(change: Any, reason: str) -> None:
    found, _ = defined({**RIGHT, **change}, [BOXES])
    assert found == Defined(tried=1, right=not reason, dropped={reason: 1} if reason else {})


def test_what_was_cut_off_is_counted() -> None:
    assert defined('{"name": "x", "par', [BOXES])[0].dropped == {"cut_off": 1}


def test_the_model_sees_the_words_and_neither_types_nor_its_name() -> None:
    _, (request,) = defined(RIGHT, [BOXES])
    words = request["prompt"].rsplit("Words:", 1)[1]
    assert "Count the boxes that eggs fill. It needs eggs (How many eggs), box_size (Eggs in one box)." in words
    assert "integer" not in words
    assert "box_count" not in words
    assert request["structured_outputs"]["json"]["additionalProperties"] is False


def test_optional_parameters_are_told_apart_and_may_be_null() -> None:
    words = in_words(LABEL)
    assert words.startswith("Write a label in capitals for a shelf. It needs label (The words).")
    assert words.endswith(" It can be given stars (Stars around it).")
    definition = true_definition(LABEL)
    assert definition is not None
    assert (definition.parameters, definition.required) == ({"label": "string", "stars": "integer"}, ("label",))


def test_at_most_limit_tools_are_asked_about_and_none_without_a_plain_type() -> None:
    odd = BOXES.model_copy(update={"name": "odd", "parameters": {"type": "object", "properties": {"a": {}}}})
    bare = BOXES.model_copy(update={"name": "bare", "parameters": {"type": "object", "properties": {}}})
    assert defined(RIGHT, [odd, bare])[0] == Defined()
    assert defined(RIGHT, [BOXES, BOXES, BOXES], limit=2)[0].tried == 2
    assert defined(RIGHT, [BOXES], limit=0) == (Defined(), [])
    with pytest.raises(ValueError, match="odd"):
        in_words(odd)


def test_a_lesson_is_the_true_definition_and_carries_no_decision() -> None:
    (row,) = definition_rows([BOXES], 5, seed=0)
    user, assistant = row["messages"]
    assert in_words(BOXES) in user["content"]
    told = json.loads(assistant["content"])
    assert told == {
        "name": "box_count",
        "parameters": {"eggs": "integer", "box_size": "integer"},
        "required": ["eggs", "box_size"],
    }
    assert (row["tools"], row["targets"], row["decision"]) == ([], [1], None)


@given(st.integers(0, 100), st.integers(0, 3))
def test_lessons_are_of_different_tools_and_the_same_for_the_same_seed(seed: int, count: int) -> None:
    tools = list(shop_tools.registry())
    rows = definition_rows(tools, count, seed=seed)
    assert rows == definition_rows(tools, count, seed=seed)
    assert len({row["trace"] for row in rows}) == len(rows) == count


def test_most_built_in_tools_can_be_defined() -> None:
    tools = list(load_local_tools(ToolkitConfig()))
    usable = [tool for tool in tools if true_definition(tool) is not None]
    assert len(usable) > 0.7 * len(tools)
    assert all(tool.description.split()[0] in in_words(tool) for tool in usable)
