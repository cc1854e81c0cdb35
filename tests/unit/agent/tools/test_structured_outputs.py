"""Schemas elsewhere in a request: its structured outputs and its response format."""

import json
from typing import Any

import pytest

from agent.tools.schemas import BadTool, prepared_answer, prepared_request
from evolver.tool_making import definition
from tests.fakes.request_schemas import DEFINED, obj
from toolkit.config import ToolkitConfig
from toolkit.sources import load_local_tools

FLOAT = {"type": "float"}


def tagged(content: Any) -> dict[str, Any]:
    return {"type": "tag", "begin": "<a>", "content": content, "end": "</a>"}


def leaf(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": schema}


def forms(schema: Any) -> list[tuple[dict[str, Any], str]]:
    """Every place but the tools where vLLM takes a schema: the request, and the path of the schema in it."""
    structures = [{"begin": "<a>", "schema": schema, "end": "</a>"}]
    old = {"structures": structures, "triggers": ["<a"]}
    trigger = {"type": "triggered_tags", "triggers": ["<a"], "tags": [tagged(leaf(True)), tagged(leaf(schema))]}
    row = {"type": "sequence", "elements": [{"type": "any_text"}, {"type": "optional", "content": leaf(schema)}]}
    rules = {"type": "dispatch", "rules": [["x", leaf(schema)]]}
    outputs, response = "structured_outputs", "response_format"
    return [
        ({outputs: {"json": schema}}, f"{outputs}.json"),
        ({outputs: {"json": json.dumps(schema)}}, f"{outputs}.json"),
        (
            {outputs: {"structural_tag": json.dumps({"type": "structural_tag", "format": trigger})}},
            f"{outputs}.structural_tag.format.tags[1].content.json_schema",
        ),
        ({outputs: {"structural_tag": json.dumps(old)}}, f"{outputs}.structural_tag.structures[0].schema"),
        ({response: {"type": "structural_tag", **old}}, f"{response}.structures[0].schema"),
        (
            {response: {"type": "structural_tag", "format": row}},
            f"{response}.format.elements[1].content.json_schema",
        ),
        ({response: {"type": "structural_tag", "format": rules}}, f"{response}.format.rules[0][1].json_schema"),
    ]


@pytest.mark.parametrize("prepare", [prepared_answer, prepared_request])
@pytest.mark.parametrize(("request_", "where"), forms(obj(x=FLOAT)))
def test_schemas_elsewhere_are_checked_too(prepare: Any, request_: dict[str, Any], where: str) -> None:
    with pytest.raises(BadTool) as raised:
        prepare(request_)
    assert raised.value.parameter == f"{where}.properties.x.type"
    assert str(raised.value).startswith(f'{where}.properties.x.type: "float" is none of array, boolean, ')
    assert str(raised.value).endswith("; correct the schema of the answer")


VALID = {**obj(n={"type": "integer", "default": None}, x={"$ref": "#/$defs/line"}), **DEFINED}


@pytest.mark.parametrize("prepare", [prepared_answer, prepared_request])
@pytest.mark.parametrize("request_", [request for request, _ in forms(VALID)])
def test_valid_schemas_elsewhere_stay_as_they_are(prepare: Any, request_: dict[str, Any]) -> None:
    before = json.dumps(request_)
    assert json.dumps(prepare(request_)) == before


def test_what_the_evolver_asks_for_stays_as_it_is() -> None:
    schemas = [tool.parameters for tool in load_local_tools(ToolkitConfig())]
    closed = [{**schema, "additionalProperties": False} for schema in schemas]
    outputs: list[dict[str, Any]] = [{"json": schema} for schema in (definition.SCHEMA, *schemas, *closed)]
    for each in (*outputs, {"regex": r'\{"n": -?[0-9]+\}'}, {"choice": ["yes", "no"]}):
        assert prepared_answer({"prompt": "x", "structured_outputs": each}) == {
            "prompt": "x",
            "structured_outputs": each,
        }


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"json": "{"}, "structured_outputs.json is not JSON; send an object, or a text of JSON"),
        ({"json": '{"maxLength": 1e999}'}, "structured_outputs.json is not JSON; send an object, or a text of JSON"),
        ({"json": '{"minimum": NaN}'}, "structured_outputs.json is not JSON; send an object, or a text of JSON"),
        (
            {"structural_tag": '{"format": {"json_schema": {"maxItems": 1e999}}}'},
            "structured_outputs.structural_tag is not JSON; send an object, or a text of JSON",
        ),
        ({"json": "[" * 200_000}, "structured_outputs.json is nested too deep; use plain objects"),
        ({"structural_tag": "<a>"}, "structured_outputs.structural_tag is not JSON; send an object, or a text of JSON"),
        ({"json": 3}, "structured_outputs.json: 3 is no schema; write an object; correct the schema of the answer"),
    ],
)
def test_structured_outputs_that_hold_no_schema_are_refused(outputs: dict[str, Any], message: str) -> None:
    with pytest.raises(BadTool) as raised:
        prepared_answer({"structured_outputs": outputs})
    assert str(raised.value) == message


def test_many_large_schemas_in_a_structural_tag_are_refused() -> None:
    large = obj(**{f"f{n}": {"type": "string"} for n in range(1500)})
    structures = [{"begin": "<a>", "schema": large, "end": "</a>"}] * 14
    with pytest.raises(BadTool, match=r"^response_format: its schemas have more than 20000 fields"):
        prepared_answer({"response_format": {"type": "structural_tag", "structures": structures, "triggers": ["<a"]}})
