"""Checks of single traces that need no verifier: a choice that is asked for and left out, flags, percent."""

from typing import Any

import pytest

from evolver.lessons import checks
from evolver.types import TraceKind
from tests.fakes.evolution import trace, turn
from toolkit.tool import Tool


@pytest.mark.parametrize(
    ("request_text", "arguments", "why"),
    [
        ("Wrap the vase please, in a large box.", {"item": "vase"}, "leaves_out_what_is_asked"),
        ("Wrap the vase please, in a large box.", {"item": "vase", "size": "large"}, ""),
        ("Wrap the vase please, in a larger box.", {"item": "vase"}, ""),
        ("Wrap the vase please.", {"item": "vase"}, ""),
    ],
)
def test_a_call_that_leaves_out_a_choice_which_is_asked_for(
    request_text: str, arguments: dict[str, Any], why: str
) -> None:
    properties = {"item": {"type": "string"}, "size": {"type": "string", "enum": ["small", "large"]}}
    tool = Tool(name="wrap", description="Wrap.", parameters={"type": "object", "properties": properties})
    asked = trace(request_text, "wrap", arguments, "wrapped")
    assert (checks.options(asked, {"wrap": tool}.get) or "") == why
    assert checks.options(asked, {}.get) is None


SORTING = Tool(
    name="sort",
    description="Sort.",
    parameters={
        "type": "object",
        "properties": {"words": {"type": "array"}, "ignore_case": {"type": "boolean"}, "reverse": {"type": "boolean"}},
    },
)
WORDS = ["b", "a"]


@pytest.mark.parametrize(
    ("request_text", "flags", "why"),
    [
        ("Sort b and a, ignoring case.", {"ignore_case": True}, ""),
        ("Sort b and a.", {"ignore_case": False}, ""),
        ("Sort b and a in reverse and ignore the case.", {"ignore_case": True, "reverse": True}, ""),
        ("Sort b and a.", {"ignore_case": True}, "flag_not_stated"),
        ("Sort b and a, ignoring case.", {"ignore_case": False}, "flag_not_stated"),
    ],
)
def test_a_flag_is_what_its_request_says(request_text: str, flags: dict[str, bool], why: str) -> None:
    made = trace(request_text, "sort", {"words": WORDS, **flags}, WORDS)
    assert (checks.grounding(made) or "") == why
    assert checks.grounding(made.model_copy(update={"kind": TraceKind.LOGGED})) is None


@pytest.mark.parametrize(("request_text", "why"), [("Reverse b and a.", "leaves_out_what_is_asked"), ("b and a?", "")])
def test_a_call_that_leaves_out_a_flag_which_is_asked_for(request_text: str, why: str) -> None:
    assert (checks.options(trace(request_text, "sort", {"words": WORDS}, WORDS), {"sort": SORTING}.get) or "") == why


@pytest.mark.parametrize(
    ("request_text", "rate", "why"),
    [
        ("Grow 900 at 5%.", 0.05, ""),
        ("Grow 900 at 5 percent.", 0.05, ""),
        ("Grow 900 at 5%.", 5, ""),
        ("Grow 900 at 0.05.", 0.05, ""),
        ("Grow 900 at 5.", 0.05, "argument_not_stated"),
        ("Grow 900 at 5%.", 0.5, "argument_not_stated"),
        ("Grow 900 at 5% for 7%.", 0.05, "states_another_number"),
    ],
)
def test_percent_stand_for_a_share_of_one_too(request_text: str, rate: float, why: str) -> None:
    assert (checks.grounding(trace(request_text, "grow", {"amount": 900, "rate": rate}, 945)) or "") == why


def test_what_was_said_before_may_give_a_value() -> None:
    said = trace("Now double it and add 4.", "add", {"a": 55, "b": 4}, 59, kind=TraceKind.LOGGED)
    assert checks.grounding(said) == "argument_not_stated"
    before = turn("add 21 and 34", ("add", {"a": 21, "b": 34}, 55), answer="It is 55.").messages
    assert checks.grounding(said.model_copy(update={"history": before})) is None
    assert checks.grounding(said.model_copy(update={"history": before[:1]})) == "argument_not_stated"


def test_whose_call_was_repaired_may_have_asked_in_any_words() -> None:
    asked = trace("Sort b and a.", "sort", {"words": WORDS, "ignore_case": True}, WORDS, kind=TraceKind.REPAIRED)
    assert checks.grounding(asked) is None
