"""Checks of single traces that need no verifier: a choice that is asked for and left out."""

from typing import Any

import pytest

from evolver import checks
from tests.fakes.evolution import trace
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
    assert checks.options(asked, {"wrap": tool}.get) == why
    assert checks.options(asked, {}.get) == ""
