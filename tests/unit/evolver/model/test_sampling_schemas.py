"""Schemas for sampling: never looser than the tool's own, short lists, optional parameters in and out."""

import copy
import json
import random
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import JsonValue

from evolver.model.sampling_schemas import bounded, json_pattern, restricted

QUICK = settings(max_examples=40, deadline=None)

SCHEMA: dict[str, JsonValue] = {
    "type": "object",
    "properties": {
        "text": {"type": "string", "description": "What."},
        "mode": {"type": "string", "enum": ["upper", "lower"]},
        "words": {"type": "array", "items": {"type": "string"}},
        "limit": {"type": "integer", "minimum": 1, "maximum": 9},
        "short": {"type": "string", "maxLength": 3},
    },
    "required": ["text", "words"],
    "additionalProperties": False,
}
SEEDS = st.integers(0, 2**31)


@QUICK
@given(SEEDS)
def test_the_tool_accepts_whatever_fits_the_narrow_schema(seed: int) -> None:
    narrow = bounded(SCHEMA, random.Random(seed))
    Draft202012Validator.check_schema(narrow)
    properties = narrow["properties"]
    assert isinstance(properties, dict)
    examples = {"text": "abc", "mode": "upper", "words": ["a", "b"], "limit": 3, "short": "x"}
    value = {name: examples[name] for name in properties}
    assert Draft202012Validator(narrow).is_valid(value)
    assert Draft202012Validator(SCHEMA).is_valid(value)


@QUICK
@given(SEEDS)
def test_every_parameter_is_required_or_absent_and_the_required_ones_stay(seed: int) -> None:
    narrow = bounded(SCHEMA, random.Random(seed))
    assert set(narrow["properties"]) == set(narrow["required"]) >= {"text", "words"}  # type: ignore[arg-type]
    assert narrow["additionalProperties"] is False


def test_optional_parameters_are_in_and_out() -> None:
    shapes = {frozenset(bounded(SCHEMA, random.Random(seed))["properties"]) for seed in range(60)}  # type: ignore[arg-type]
    assert {"limit" in shape for shape in shapes} == {True, False}
    assert {"mode" in shape for shape in shapes} == {True, False}


def test_an_optional_flag_is_set_where_it_is_in_and_one_that_is_on_stays_out() -> None:
    flags: dict[str, JsonValue] = {
        "must": {"type": "boolean"},
        "may": {"type": "boolean", "default": False},
        "on": {"type": "boolean", "default": True},
    }
    schema: dict[str, JsonValue] = {"type": "object", "properties": flags, "required": ["must"]}
    shapes = [bounded(schema, random.Random(seed))["properties"] for seed in range(60)]
    assert {tuple(shape) for shape in shapes if isinstance(shape, dict)} == {("must",), ("must", "may")}
    longest: Any = max(shapes, key=lambda shape: len(shape) if isinstance(shape, dict) else 0)
    assert longest["may"]["enum"] == [True]
    assert "enum" not in longest["must"]


def test_no_empty_texts_and_no_long_lists_and_own_bounds_stay() -> None:
    narrow: dict[str, JsonValue] = next(
        found
        for seed in range(1000)
        if set((found := bounded(SCHEMA, random.Random(seed)))["properties"]) == set(SCHEMA["properties"])  # type: ignore[arg-type]
    )
    schema = Draft202012Validator(narrow)
    good = {"text": "abc", "mode": "upper", "words": ["a", "b"], "limit": 3, "short": "x"}
    assert schema.is_valid(good)
    for bad in (
        {"text": ""},
        {"words": ["a"] * 500},
        {"words": ["a", ""]},
        {"limit": 10},
        {"short": "1234"},
        {"mode": "title"},
    ):
        assert not schema.is_valid({**good, **bad}), bad


@QUICK
@given(SEEDS, st.sets(st.sampled_from(sorted(SCHEMA["properties"]))))  # type: ignore[arg-type]
def test_the_schema_given_is_not_changed(seed: int, names: set[str]) -> None:
    before = copy.deepcopy(SCHEMA)
    bounded(SCHEMA, random.Random(seed))
    assert set(restricted(SCHEMA, names)["properties"]) == names  # type: ignore[arg-type]
    assert set(restricted(SCHEMA, names)["required"]) == names  # type: ignore[arg-type]
    assert before == SCHEMA


def test_a_tool_without_parameters() -> None:
    assert bounded({"type": "object"}, random.Random(0))["properties"] == {}


FLAT: dict[str, JsonValue] = {
    "properties": {
        "text": {"type": "string"},
        "count": {"type": "integer"},
        "share": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "kind": {"enum": ["a.b", "c"]},
        "sure": {"type": "boolean"},
        "many": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 4},
    }
}


@QUICK
@given(
    text=st.text(min_size=1, alphabet=st.characters(exclude_categories=("C",), exclude_characters='"\\')),
    count=st.integers(-(10**15) + 1, 10**15 - 1),
    share=st.none() | st.floats(-1e6, 1e6).map(lambda value: round(value, 3)).filter(lambda v: "e" not in repr(v)),
    kind=st.sampled_from(["a.b", "c"]),
    sure=st.booleans(),
    many=st.lists(st.integers(-(10**15) + 1, 10**15 - 1), min_size=2, max_size=4),
)
def test_the_pattern_of_a_flat_schema_takes_what_it_allows(**values: Any) -> None:
    pattern = json_pattern(FLAT)
    assert pattern is not None
    assert re.fullmatch(pattern, json.dumps(values, ensure_ascii=False))


@pytest.mark.parametrize(
    "change", [{"kind": "axb"}, {"many": [1]}, {"many": [1, 2, 3, 4, 5]}, {"count": "1"}, {"text": "two\nlines"}]
)
def test_and_nothing_else(change: dict[str, Any]) -> None:
    values = {"text": "t", "count": 1, "share": 0.5, "kind": "c", "sure": True, "many": [1, 2]}
    pattern = json_pattern(FLAT)
    assert pattern is not None
    assert re.fullmatch(pattern, json.dumps(values))
    assert not re.fullmatch(pattern, json.dumps(values | change))


@pytest.mark.parametrize("field", [{"type": "object"}, {"type": "array", "items": {"type": "integer"}}, True])
def test_a_nested_or_unbounded_schema_has_no_pattern(field: Any) -> None:
    assert json_pattern({"properties": {"field": field}}) is None


@pytest.mark.parametrize("kind", ["integer", "number"])
def test_a_number_ends(kind: str) -> None:
    field = {"type": "array", "items": {"type": kind}}
    narrow = bounded({"type": "object", "properties": {"values": field}, "required": ["values"]}, random.Random(0))
    pattern = json_pattern(narrow)
    assert pattern is not None
    fits, validator = re.compile(pattern), Draft202012Validator(narrow)
    for value in (0, -7, 999_999_999_999_999):
        assert fits.fullmatch(json.dumps({"values": [value, value]}))
        assert validator.is_valid({"values": [value, value]})
    assert not fits.fullmatch('{"values": [1000000000000000, 1]}')
    assert not validator.is_valid({"values": [10**15, 1]})
    assert not fits.fullmatch(f'{{"values": [0.{"3" * 30}, 1]}}')


def test_a_parameter_takes_one_of_its_choices_and_a_list_some_of_them() -> None:
    choices: dict[str, list[JsonValue]] = {"text": ["red", "blue"], "words": ["fern", "ivy", "moss"]}
    narrow: Any = bounded(SCHEMA, random.Random(1), choices)
    assert narrow["properties"]["text"] == {"description": "What.", "enum": ["red", "blue"]}
    words = narrow["properties"]["words"]
    assert (words["items"], words["maxItems"]) == ({"enum": ["fern", "ivy", "moss"]}, 2)
    pattern = json_pattern(restricted(narrow, ["text", "words"]))
    assert pattern is not None
    assert re.fullmatch(pattern, ' {"text": "blue", "words": ["ivy", "moss"]}')
    assert not re.fullmatch(pattern, ' {"text": "green", "words": ["ivy", "moss"]}')


def test_an_optional_parameter_is_in_for_about_a_third() -> None:
    drawn = [bounded(SCHEMA, random.Random(seed))["properties"] for seed in range(600)]
    share = sum("limit" in properties for properties in drawn) / len(drawn)  # type: ignore[operator]
    assert 0.27 < share < 0.4
