"""Learning against rejected calls, in the benchmarks: whose calls are rejected, and which lessons hold them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.adapters import active
from agent.turn.messages import Message
from agent.turn.model_client import ModelReply
from benchmarks.continual import RUNS
from benchmarks.rejected_calls import FILE, Rejected, learning_against_rejected, rejected, with_rejected
from evolver.config import Config, DatasetConfig
from evolver.crew.local import LocalCrew
from evolver.crew.workshop import Rules, Workshop
from evolver.cycle import run
from evolver.store.dataset_files import folder_sha256
from evolver.store.jsonl import read_lines
from evolver.types import Call, Failure, Trace
from tests.fakes import shop_tools
from tests.fakes.evolution import trace
from tests.fakes.stages import HeldOutTexts, context, dataset
from toolkit.tool import ToolCall, ToolError, ToolErrorKind

ADDS = trace("Please add the prices 21 and 34.", "add_prices", {"first": 21, "second": 34}, 55)
BOXES = trace("Into how many boxes of 6 do 30 eggs go?", "box_count", {"eggs": 30, "box_size": 6}, 5)
TALK = trace("Tell me about foxes, please.")
WRONG = Call(name="add_prices", arguments={"first": 21, "second": 43})


class Serving:
    """A client whose model makes the calls that ``says`` has for a request."""

    def __init__(self, says: dict[str, Call | None]) -> None:
        self.says, self.asked = says, list[str]()

    def chat(self, body: dict[str, Any]) -> ModelReply:
        request = body["messages"][-1]["content"]
        self.asked.append(request)
        call = self.says[request]
        calls = () if call is None else (ToolCall(id="1", **call.model_dump()),)
        return ModelReply(message=Message(role="assistant", content="", tool_calls=calls))


def found(folder: Path, traces: Sequence[Trace], says: dict[str, Call | None], model: str = "adapter-0001") -> Any:
    """Return what is rejected, and whom the model was asked about."""
    client = Serving(says)
    workshop = Workshop(shop_tools.executor(), client, None, Rules(HeldOutTexts()))  # type: ignore[arg-type]
    stage = context(folder, shop_tools.executor())
    stage = type(stage)(cycle=2, folder=folder, seed=0, crew=LocalCrew(workshop, 2))
    config = Config(data_folder=folder)
    if model != "base":
        active.write(folder, active.ActiveAdapter(name=model, sha256="0" * 64))
    return rejected(stage, config, traces), sorted(client.asked)


@pytest.mark.parametrize(
    ("call", "is_wrong"),
    [
        (WRONG, True),
        (ADDS.calls[0], False),
        (Call(name="add_prices", arguments={"first": 34, "second": 21}), False),  # it returns the same
        (Call(name="add_prices", arguments={"first": 21}), True),
        (Call(name="box_count", arguments={"eggs": 21, "box_size": 34}), True),
        (Call(name="keep_receipt", arguments={"shop": "A", "total": 55}), True),
        (Call(name="no_such_tool", arguments={}), True),
        (None, False),
    ],
)
def test_a_call_of_what_serves_is_rejected_where_it_returns_something_else(
    tmp_path: Path, call: Call | None, is_wrong: bool
) -> None:
    wrong, asked = found(tmp_path, [ADDS, TALK], {ADDS.request: call})
    assert asked == [ADDS.request]
    assert wrong == ([Rejected(trace_id=ADDS.id, call=call)] if is_wrong and call else [])
    assert read_lines(tmp_path / FILE, Rejected) == wrong


def test_variants_conversations_and_several_calls_are_not_asked_about_and_the_base_model_is_not_asked(
    tmp_path: Path,
) -> None:
    others = [
        ADDS.sourced(derived_from="x"),
        ADDS.model_copy(update={"history": (Message(role="user", content="Hello"),)}),
        ADDS.model_copy(update={"calls": (*ADDS.calls, *BOXES.calls), "results": (55, 5)}),
    ]
    assert found(tmp_path, others, {}) == ([], [])
    assert found(tmp_path / "base", [ADDS], {}, model="base") == ([], [])


def test_the_failed_call_of_a_repaired_turn_is_rejected(tmp_path: Path) -> None:
    error = ToolError(kind=ToolErrorKind.TOOL_FAILED, message="no")
    repaired = ADDS.model_copy(update={"failures": (Failure(call=WRONG, error=error),)})
    assert found(tmp_path, [repaired], {}, model="base")[0] == [Rejected(trace_id=ADDS.id, call=WRONG)]


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()]


def test_lessons_hold_the_rejected_call_where_its_tool_is_shown_under_its_name(tmp_path: Path) -> None:
    config = DatasetConfig(contexts_per_call=4, renamed_share=0.5, narrow_share=0.5, validation_share=0.02)
    tools = [tool for tool in shop_tools.registry() if tool.effect.value == "pure"]
    made = dataset(config, [ADDS, BOXES, TALK], [], tools, tmp_path, shown=2)
    before = rows(made.folder)
    other = Call(name="box_count", arguments={"eggs": 1, "box_size": 1})
    pairs = [Rejected(trace_id=ADDS.id, call=call) for call in (WRONG, WRONG, other)]
    changed = with_rejected(made, pairs)
    assert changed.sha256 == folder_sha256(made.folder) != made.sha256
    kinds = set()
    for row, old in zip(rows(made.folder), before, strict=True):
        shown = [tool["function"]["name"] for tool in row["tools"]]
        wanted = [call.name for call in (WRONG, other) if call.name in shown]
        holds = row["trace"] == ADDS.id and row["decision"] == "call" and bool(wanted)
        kinds.add((row["trace"] == ADDS.id, holds))
        if not holds:
            assert row == old
            continue
        said = [message["tool_calls"][0]["function"] for message in row["rejected"]]
        assert [call["name"] for call in said] == wanted
        assert {key: value for key, value in row.items() if not key.startswith("rejected")} == old
    assert kinds == {(True, True), (True, False), (False, False)}


def test_a_dataset_without_rejected_calls_stays_as_it_is(tmp_path: Path) -> None:
    made = dataset(DatasetConfig(), [ADDS, BOXES, TALK], [], shop_tools.registry(), tmp_path)
    assert with_rejected(made, []) is made


def test_cycles_build_as_always_afterwards(tmp_path: Path) -> None:
    plain = run.build
    with pytest.raises(KeyboardInterrupt), learning_against_rejected(Config(data_folder=tmp_path)):
        assert run.build is not plain
        raise KeyboardInterrupt
    assert run.build is plain
    assert RUNS["learn-against"].during is learning_against_rejected
