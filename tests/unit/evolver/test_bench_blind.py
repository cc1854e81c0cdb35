"""The blind round trip of the benchmark: a request must bring its tool back among rivals."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from agent.serving.serving_state import ServingState
from benchmarks.ablations import ABLATIONS, ROUND_2
from benchmarks.blind_round_trip import REASON, RIVALS, Silence, blind_round_trip, judged, wins
from evolver.config import Config, VerifyConfig
from evolver.cycle import run
from evolver.store.jsonl import read_lines
from evolver.types import Trace, TraceKind, Verdict
from evolver.verification.verify import verify
from tests.fakes import shop_tools
from tests.fakes.evolution import trace
from tests.fakes.stages import context
from toolkit.search import ToolIndex
from toolkit.tool import Tool

INDEX = ToolIndex(shop_tools.registry())
ADDS = trace("Please add the prices 21 and 34.", "add_prices", {"first": 21, "second": 34}, 55)
BOXES = trace("Into how many boxes of 6 do 30 eggs go?", "box_count", {"eggs": 30, "box_size": 6}, 5)
TALK = trace("Tell me about foxes, please.")


class Concurrency:
    concurrency = 2


def silence(by_tool: Mapping[str, float], other: float = -1.0) -> Silence:
    return lambda request, tool: by_tool.get(tool.name, other)


def test_the_tool_wins_where_no_rival_makes_a_call_likelier() -> None:
    assert wins(ADDS, INDEX, silence({"add_prices": -3.0}))
    assert wins(ADDS, INDEX, silence({"add_prices": -1.0}))
    assert not wins(ADDS, INDEX, silence({"add_prices": -0.5}))


def test_it_is_compared_with_the_best_others_of_the_search() -> None:
    asked: list[str] = []

    def noted(request: str, tool: Tool) -> float:
        asked.append(tool.name)
        return -3.0 if tool.name == "add_prices" else -1.0

    assert wins(ADDS, INDEX, noted)
    best = [tool.name for tool in INDEX.top(ADDS.request, RIVALS + 1)]
    assert sorted(asked) == sorted(best)


def test_each_tool_of_several_calls_must_win() -> None:
    both = ADDS.model_copy(
        update={"calls": (*ADDS.calls, *BOXES.calls), "request": "Add prices; how many boxes of eggs?"}
    )
    assert wins(both, INDEX, silence({"add_prices": -3.0, "box_count": -2.0}))
    assert not wins(both, INDEX, silence({"add_prices": -3.0, "box_count": -0.5}))


def test_what_loses_is_dropped_with_its_reason(tmp_path: Path) -> None:
    lived = BOXES.model_copy(
        update={"id": "lived", "kind": TraceKind.LOGGED, "request": "How many boxes for 30 eggs, 6 each?"}
    )
    stage = context(tmp_path, shop_tools.executor(), Concurrency())
    plain = verify(stage, VerifyConfig(round_trip=False), [ADDS, BOXES, TALK, lived])
    assert plain.kept == 4
    found = judged(plain, stage, silence({"add_prices": -3.0, "box_count": -0.1}))
    assert {one.id for one in read_lines(found.file, Trace)} == {ADDS.id, TALK.id, "lived"}
    assert (found.kept, found.dropped) == (3, {REASON: 1})
    assert found.kept_by_kind == {TraceKind.BACK_TRANSLATION: 1, TraceKind.NO_TOOL: 1, TraceKind.LOGGED: 1}
    reasons = {one.trace_id: one.reason for one in read_lines(found.verdicts_file, Verdict)}
    assert reasons == {ADDS.id: "", BOXES.id: REASON, TALK.id: "", "lived": ""}


def test_while_the_base_serves_verification_is_as_always_and_stays_so_afterwards(tmp_path: Path) -> None:
    serving = ServingState(pid=1, gateway_url="http://127.0.0.1:9", vllm_url="", vllm_pid=1, vllm_key="")
    stage = context(tmp_path, shop_tools.executor(), Concurrency())
    with blind_round_trip(Config(data_folder=tmp_path), serving):
        assert run.verify is not verify
        assert run.verify(stage, VerifyConfig(round_trip=False), [BOXES]).kept == 1
    assert run.verify is verify
    with pytest.raises(KeyboardInterrupt), blind_round_trip(Config(data_folder=tmp_path), serving):
        raise KeyboardInterrupt
    assert run.verify is verify


def test_it_is_an_ablation_from_the_second_round_on() -> None:
    assert [name for name, one in ABLATIONS.items() if one.blind] == ["blind-round-trip"]
    assert ABLATIONS["blind-round-trip"].since == ROUND_2
