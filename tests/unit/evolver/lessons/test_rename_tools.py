"""Tools under other names: schema, call and error say the same names, and mean the same."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolver.config import DatasetConfig
from evolver.lessons.rename_tools import rename_tools, with_shown_names
from evolver.types import Call, Failure, Trace, TraceKind
from tests.fakes import shop_tools
from tests.fakes.evolution import trace
from tests.fakes.stages import dataset
from toolkit.argument_check import ArgumentCheck
from toolkit.tool import ToolCall, ToolErrorKind

TOOLS = list(shop_tools.registry())
BOXES = trace("How many boxes of 6 do 12 eggs fill?", "box_count", {"eggs": 12, "box_size": 6}, 2)


def real_error(arguments: dict[str, Any], name: str = "box_count") -> Failure:
    result = shop_tools.executor().execute(ToolCall(id="1", name=name, arguments=arguments))
    assert result.error is not None
    return Failure(call=Call(name=name, arguments=arguments), error=result.error)


@given(st.integers(0, 10_000))
def test_no_name_stays_and_no_two_are_the_same(seed: int) -> None:
    found = rename_tools(TOOLS, random.Random(seed))
    names = [renamed.shown.name for renamed in found]
    assert len({*names}) == len(names) == len(TOOLS)
    own = {name for tool in TOOLS for name in (tool.name, *tool.parameters["properties"])}  # type: ignore[misc]
    assert not own & {name for renamed in found for name in (renamed.shown.name, *renamed.parameters)}
    for tool, renamed in zip(TOOLS, found, strict=True):
        assert renamed.own == tool.name
        assert set(renamed.parameters.values()) == set(tool.parameters["properties"])  # type: ignore[arg-type]
        assert list(renamed.shown.parameters["properties"]) == list(renamed.parameters)  # type: ignore[arg-type]


@given(st.integers(0, 10_000))
def test_a_renamed_call_fits_the_renamed_schema_and_no_other(seed: int) -> None:
    known = {renamed.own: renamed for renamed in rename_tools(TOOLS, random.Random(seed))}
    shown = with_shown_names(BOXES, known)
    tool = known["box_count"].shown
    (call,) = shown.calls
    assert call.name == tool.name
    assert ArgumentCheck(tool.parameters)(call.arguments) is None
    assert list(call.arguments) == list(tool.parameters["properties"])  # type: ignore[arg-type]
    assert {known["box_count"].parameters[name]: value for name, value in call.arguments.items()} == {
        "eggs": 12,
        "box_size": 6,
    }
    assert (shown.request, shown.results) == (BOXES.request, BOXES.results)


@pytest.mark.parametrize(
    "arguments", [{"eggs": 12}, {"eggs": 12, "box_size": "six"}, {"eggs": 12, "box_size": 6, "cartons": 3}]
)
def test_errors_name_what_is_shown(arguments: dict[str, Any]) -> None:
    known = {renamed.own: renamed for renamed in rename_tools(TOOLS, random.Random(3))}
    failed = BOXES.model_copy(update={"failures": (real_error(arguments),)})
    (failure,) = with_shown_names(failed, known).failures
    assert "box_size" not in failure.error.message
    assert any(name in failure.error.message for name in known["box_count"].parameters)
    assert failure.call.name == known["box_count"].shown.name
    assert failure.error.kind is ToolErrorKind.INVALID_ARGUMENTS
    assert ("cartons" in arguments) is ("cartons" in failure.call.arguments)
    if "cartons" in arguments:
        assert "eggs" not in failure.error.message


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 99))
def test_in_a_share_of_contexts_nothing_has_its_own_name_and_calls_fit_what_is_shown(
    tmp_path_factory: pytest.TempPathFactory, share: float, seed: int
) -> None:
    kept = [
        trace(f"How many boxes of {n} do 99 eggs fill?", "box_count", {"eggs": 99, "box_size": n}, 1)
        for n in range(2, 14)
    ]
    folder: Path = tmp_path_factory.mktemp("renamed") / "d"
    config = DatasetConfig(renamed_share=share, branches=2, composed_share=0, validation_share=0.3)
    dataset(config, kept, [], TOOLS, folder, seed=seed)
    own = {tool.name for tool in TOOLS}
    for side in ("train", "valid"):
        rows = [json.loads(line) for line in (folder / "dataset" / f"{side}.jsonl").read_text().splitlines()]
        renamed = 0
        for row in rows:
            shown = {tool["function"]["name"]: tool["function"]["parameters"]["properties"] for tool in row["tools"]}
            assert not own & {*shown} or own >= {*shown}, "a context is renamed as a whole"
            renamed += not own & {*shown}
            for call in row["messages"][1].get("tool_calls", ()):
                assert list(json.loads(call["function"]["arguments"])) == list(shown[call["function"]["name"]])
        if side == "valid" or share == 0:
            assert renamed == 0
        elif share == 1:
            assert renamed == len(rows) > 0


def test_what_a_trace_of_several_tools_says_is_told_of_each(tmp_path: Path) -> None:
    known = {renamed.own: renamed for renamed in rename_tools(TOOLS, random.Random(1))}
    both = Trace(
        id="x",
        kind=TraceKind.PARALLEL,
        request="Do both",
        calls=(*BOXES.calls, Call(name="ring_bell", arguments={"times": 2})),
        results=(2, "rung"),
    )
    names = [call.name for call in with_shown_names(both, known).calls]
    assert names == [known["box_count"].shown.name, known["ring_bell"].shown.name]
