"""Whatever schema of a tool is accepted, a call that fits it passes through whole and streamed alike."""

import json
import math
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.fakes.model_server import Says
from tests.fuzz import openai_requests as openai
from tests.fuzz.conftest import World

CHAT = "/v1/chat/completions"
_NAMES = ("a", "b", "c d", "\u00e9", "type", "$ref", "x" * 40)
_REAL = st.integers(-100, 100) | st.sampled_from((0.5, -1.25, 2.0))


def _bounded(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    def ordered(drawn: dict[str, Any]) -> dict[str, Any]:
        lowest, highest = drawn.get("minimum", -math.inf), drawn.get("maximum", math.inf)
        return {"type": kind} | (drawn if lowest + 1 <= highest else {})

    bounds = {"minimum": _REAL, "maximum": _REAL, "description": openai.text}
    return st.fixed_dictionaries({}, optional=bounds).map(ordered)


_text = st.fixed_dictionaries(
    {"type": st.just("string")},
    optional={
        "minLength": st.integers(0, 3),
        "maxLength": st.integers(3, 2000),
        "description": openai.text,
        "default": openai.text,
    },
)
_pattern = st.sampled_from(("^[a-z]{1,4}$", "^\\d+$", "a", "^x|y$", "^(ab)*$")).map(
    lambda pattern: {"type": "string", "pattern": pattern}
)
_enum = st.lists(openai.leaf, min_size=1, max_size=3).map(lambda values: {"enum": values})
_leaf = st.one_of(
    _bounded("integer"),
    _bounded("number"),
    _text,
    _pattern,
    _enum,
    st.sampled_from(({"type": "boolean"}, {"type": "null"}, {"type": ["string", "null"]}, {}, {"$ref": "#/$defs/one"})),
    openai.text.map(lambda value: {"const": value}),
)


def _object(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    def made(drawn: tuple[dict[str, Any], int, bool | None]) -> dict[str, Any]:
        properties, required, others = drawn
        schema = {"type": "object", "properties": properties, "required": list(properties)[:required]}
        return schema if others is None else schema | {"additionalProperties": others}

    fields = st.dictionaries(st.sampled_from(_NAMES), inner, max_size=3)
    return st.tuples(fields, st.integers(0, 3), st.sampled_from((None, False, False, True))).map(made)


_node = st.recursive(
    _leaf,
    lambda inner: st.one_of(
        _object(inner),
        inner.map(lambda items: {"type": "array", "items": items, "maxItems": 3}),
        st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
        st.lists(inner, min_size=1, max_size=2).map(lambda options: {"oneOf": options}),
        inner.map(lambda only: {"allOf": [only]}),
    ),
    max_leaves=5,
)
_schemas = st.tuples(_object(_node), _leaf.filter(lambda node: "$ref" not in node)).map(
    lambda pair: pair[0] | {"$defs": {"one": pair[1]}}
)


def whole(answer: dict[str, Any]) -> list[tuple[str, Any]]:
    calls = answer["choices"][0]["message"]["tool_calls"]
    return [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls]


def streamed(text: str) -> list[tuple[str, Any]]:
    parts: dict[int, list[str]] = {}
    for line in text.split("\n"):
        if line.startswith("data: {"):
            for choice in json.loads(line[6:])["choices"]:
                for part in choice["delta"].get("tool_calls", ()):
                    call = parts.setdefault(part["index"], ["", ""])
                    call[0] += part["function"].get("name", "")
                    call[1] += part["function"].get("arguments", "")
    return [(name, json.loads(arguments)) for name, arguments in parts.values()]


def fitting(schema: dict[str, Any], one: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that fit ``schema``, one of the above; ``one`` is what ``$ref`` names."""
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return st.one_of([fitting(option, one) for option in schema[key]])
    if "$ref" in schema:
        return fitting(one, one)
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], alphabet=st.characters(codec="ascii"))
    return _OF_TYPE[json.dumps(schema.get("type"))](schema, one)


def _fitting_object(schema: dict[str, Any], one: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    fields = {name: fitting(field, one) for name, field in schema["properties"].items()}
    needed = {name: fields.pop(name) for name in schema["required"]}
    own = st.fixed_dictionaries(needed, optional=fields)
    if schema.get("additionalProperties") is not True or not schema["properties"]:
        return own  # what names no parameter takes none (docs/decisions/0067)
    others = st.dictionaries(st.sampled_from(("other", "more")), openai.leaf, max_size=1)
    return st.tuples(others, own).map(lambda pair: pair[0] | pair[1])


def _fitting_text(schema: dict[str, Any], _: dict[str, Any]) -> st.SearchStrategy[str]:
    most = min(schema.get("maxLength", 12), 12)
    return st.text(st.characters(codec="utf-8"), min_size=schema.get("minLength", 0), max_size=most)


def _fitting_number(schema: dict[str, Any], _: dict[str, Any]) -> st.SearchStrategy[float]:
    lowest, highest = schema.get("minimum", -1000), schema.get("maximum", 1000)
    if lowest > highest:
        lowest, highest = (lowest, lowest + 9) if "minimum" in schema else (highest - 9, highest)
    whole = st.integers(math.ceil(lowest), math.floor(highest))
    return whole if schema["type"] == "integer" else whole | st.sampled_from((lowest, highest))


_OF_TYPE: dict[str, Any] = {
    '"object"': _fitting_object,
    '"string"': _fitting_text,
    '"integer"': _fitting_number,
    '"number"': _fitting_number,
    '"array"': lambda schema, one: st.lists(fitting(schema["items"], one), max_size=3),
    '"boolean"': lambda *_: st.booleans(),
    '"null"': lambda *_: st.none(),
    '["string", "null"]': lambda *_: openai.text | st.none(),
    "null": lambda *_: openai.leaf,
}


@pytest.mark.timeout(1800)
@settings(max_examples=200, suppress_health_check=list(HealthCheck), print_blob=True)
@given(data=st.data(), schema=_schemas)
def test_a_call_that_fits_passes_through_whole_and_streamed_alike(
    world: World, data: st.DataObject, schema: Any
) -> None:
    tool = {"type": "function", "function": {"name": "tool", "parameters": schema}}
    body = {"messages": [{"role": "user", "content": "go"}], "tools": [tool]}
    script, world.server._script = world.server._script, lambda _: Says("no")
    try:
        accepted = world.post(CHAT, json.dumps(body).encode())
        assert accepted.status_code in (200, 400)
        if accepted.status_code == 400:
            assert accepted.json()["error"]["param"].startswith("tools[0].function")
            return
        shown = world.server.requests[-1]["tools"][0]["function"]["parameters"]
        fits = data.draw(fitting(schema, schema["$defs"]["one"]))
        assume(jsonschema.Draft202012Validator(schema).is_valid(fits))
        jsonschema.validate(fits, shown)
        world.server._script = lambda _: Says(calls=[("tool", json.dumps(fits))])
        world.logged()
        answers = [world.post(CHAT, json.dumps(body | {"stream": stream}).encode()) for stream in (False, True)]
        assert whole(answers[0].json()) == streamed(answers[1].text) == [("tool", fits)]
        logged = [interaction.trajectory.calls for interaction in world.logged()]
        assert [[(call.name, call.arguments) for call in calls] for calls in logged] == [[("tool", fits)]] * 2
    finally:
        world.server._script = script
