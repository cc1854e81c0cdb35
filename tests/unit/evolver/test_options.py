"""Asking for one thing more: what stands in the request stands in the call, and the rest stays as it was."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolver.flags import speaks_of_flag
from evolver.options import left_out, with_option
from evolver.text import states
from evolver.types import Call
from toolkit.tool import Tool

FIELDS: dict[str, dict[str, Any]] = {
    "include_weekday": {"type": "boolean", "default": False},
    "ignoreCase": {"type": "boolean"},
    "order": {"type": "string", "enum": ["rising", "falling"], "default": "rising"},
    "max_items": {"type": "integer", "default": 10},
    "weight": {"type": "number"},
    "separator": {"type": "string", "default": ", "},
    "months": {"type": "array", "items": {"type": "string", "enum": ["March", "April", "May"]}},
}
CALL = Call(name="list_days", arguments={"year": 2024})


def asked_for(name: str, seed: int, values: list[Any] | None = None, request: str = "List the days of 2024.") -> Any:
    return with_option(request, CALL, name, FIELDS[name], values or [], random.Random(seed))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(FIELDS)), st.integers(0, 10_000), st.sampled_from(".?!"))
def test_what_is_asked_for_is_in_the_request_and_in_the_call(name: str, seed: int, end: str) -> None:
    request, call = asked_for(name, seed, ["hyphen"] if name == "separator" else [], f"List the days of 2024{end}")
    assert request.startswith("List the days of 2024")
    assert request.endswith(end)
    assert call.arguments == {"year": 2024, name: (value := call.arguments[name])}
    assert value != FIELDS[name].get("default")
    assert speaks_of_flag(request, name) if value is True else states(request, value)


def test_values_are_those_that_the_model_gave_elsewhere() -> None:
    assert {asked_for("weight", seed, [2.5, 8])[1].arguments["weight"] for seed in range(30)} == {2.5, 8}
    assert {asked_for("order", seed)[1].arguments["order"] for seed in range(30)} == {"falling"}


@pytest.mark.parametrize(
    "field", [{"type": "boolean", "default": True}, {"type": "string"}, {"type": "array"}, {}, {"anyOf": []}]
)
def test_what_has_no_value_to_ask_for_is_not_asked_for(field: dict[str, Any]) -> None:
    assert with_option("List them.", CALL, "what", field, [], random.Random(0)) is None


def test_a_number_is_never_the_one_that_counts_anyway() -> None:
    found = [asked_for("max_items", seed)[1].arguments["max_items"] for seed in range(400)]
    assert len(set(found)) > 20
    assert FIELDS["max_items"]["default"] not in found


def test_a_list_of_choices_has_one_or_two_of_them() -> None:
    found = [asked_for("months", seed)[1].arguments["months"] for seed in range(30)]
    assert {len(set(months)) for months in found} == {1, 2}
    assert {month for months in found for month in months} == {"March", "April", "May"}


def test_it_is_said_in_several_ways() -> None:
    assert len({asked_for("include_weekday", seed)[0] for seed in range(60)}) >= 6
    assert len({asked_for("order", seed)[0] for seed in range(60)}) >= 5


def test_what_a_call_leaves_out() -> None:
    schema: Any = {"type": "object", "properties": {"year": {"type": "integer"}, **FIELDS}, "required": ["year"]}
    tool = Tool(name="list_days", description="List.", parameters=schema)
    assert left_out(tool, CALL) == list(FIELDS)
    assert left_out(tool, Call(name="list_days", arguments={"year": 1, "order": "falling"})) == [
        name for name in FIELDS if name != "order"
    ]
    assert left_out(Tool(name="list_days", description="", parameters={}), CALL) == []
