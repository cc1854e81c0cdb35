"""What a cycle learns from, and what it does not."""

import json
from typing import Any, Literal

import pytest

from agent.adapters.package import read_manifest
from agent.log.interaction_log import InteractionLog
from evolver.cli.past_tables import adapters_text, lessons_of
from evolver.cli.show import cycle_text
from evolver.config import TrainConfig
from evolver.cycle import stages
from evolver.tool_making.pool import ToolPool
from tests.fakes.evolution import turn
from tests.fakes.evolver_world import World, lines
from tests.fakes.inventor import Inventor
from tests.fakes.model_server import Says
from tests.fakes.stages import value_of
from tests.fakes.whole_cycle import NAME, configured, serving

UNSERVED = "How much does each of 4 friends pay of a bill of 90?"


def test_the_second_cycle_starts_from_what_the_first_left(here: World) -> None:
    here.run()
    here.log("how many boxes do 30 eggs of 6 fill?", ("box_count", {"eggs": 30, "box_size": 6}, 5))
    report = here.run()
    assert report.cycle.number == 2
    assert report.cycle.status == "rejected"
    assert value_of(report, stages.MAKE).by_kind["logged"] == 1
    assert value_of(report, stages.DATASET).replayed > 0
    assert value_of(report, stages.INCUMBENT).model == NAME
    assert serving(here) == NAME
    kept = [{row["request"] for row in lines(here.data / "cycles" / n / "kept.jsonl")} for n in ("0001", "0002")]
    assert kept[0].isdisjoint(kept[1])


def test_what_serves_does_well_is_not_learned_anew_but_replayed(here: World) -> None:
    here.run()
    here.log("how many boxes do 30 eggs of 6 fill?", ("box_count", {"eggs": 30, "box_size": 6}, 5))
    here.learner.likely = (-0.05, -0.05)
    report = here.run()
    chosen, data = value_of(report, stages.SELECT), value_of(report, stages.DATASET)
    calls = value_of(report, stages.VERIFY).kept - value_of(report, stages.VERIFY).kept_by_kind.get("no_tool", 0)
    assert (chosen.model, chosen.asked, chosen.known) == (NAME, calls, calls - 1)
    assert [row["request"] for row in lines(chosen.file) if row["calls"]] == ["how many boxes do 30 eggs of 6 fill?"]
    assert data.replayed >= chosen.known
    assert f"{calls - 1} of {calls} kept calls" in cycle_text(report)


def test_a_cycle_in_which_nothing_is_new_says_so_and_trains_nothing(here: World) -> None:
    here.run()
    here.learner.likely = (-0.05, -0.05)
    report = here.run()
    assert report.cycle.status == "nothing_to_do"
    assert report.cycle.reason.startswith(f"nothing is new: {NAME} makes all ")
    assert here.training.trained == [NAME]
    assert serving(here) == NAME


@pytest.mark.parametrize("verdict", ["good", "bad"])
def test_a_turn_that_is_called_bad_after_it_taught_is_not_learned_again(
    here: World, verdict: Literal["good", "bad"]
) -> None:
    evolver = here.config.evolver
    all_again = evolver.dataset.model_copy(update={"replay_share": 0.9})
    here.config = here.config.model_copy(update={"evolver": evolver.model_copy(update={"dataset": all_again})})
    first = here.run()
    assert value_of(first, stages.VERIFY).kept_by_kind["logged"] == 1
    with InteractionLog(here.data / "interactions.db") as log:
        (taught,) = (one for one in log.read() if one.trajectory.calls)
        log.feedback(taught.id, verdict)
    second = here.run()
    assert value_of(second, stages.DATASET).replayed > 0
    rows = [
        row for name in ("train", "valid") for row in lines(value_of(second, stages.DATASET).folder / f"{name}.jsonl")
    ]
    assert (taught.id in {row["provenance"]["interaction_id"] for row in rows}) is (verdict == "good")


def test_a_turn_of_a_conversation_is_learned_with_what_was_said_before(here: World) -> None:
    said = turn(
        "add 3 and 4 to prices, please", ("add_prices", {"first": 3, "second": 4}, 7), answer="It is 7."
    ).messages
    asked = "now add the prices once more, with 90 as the second"
    with InteractionLog(here.data / "interactions.db") as log:
        first = turn(said[0].content, ("add_prices", {"first": 3, "second": 4}, 7), answer="It is 7.")
        for one in (first, turn(asked, ("add_prices", {"first": 7, "second": 90}, 97), history=said)):
            log.append(one, session="talk", source="chat")
    report = here.run()
    rows = [
        row for name in ("train", "valid") for row in lines(value_of(report, stages.DATASET).folder / f"{name}.jsonl")
    ]
    talked = [row for row in rows if row["provenance"]["interaction_id"] and len(row["messages"]) > len(said)]
    assert talked
    for row in talked:
        told = [message["content"] for message in row["messages"]]
        assert told[: len(said) + 1] == [said[0].content, "", "7", "It is 7.", asked]
        assert min(row["targets"]) == len(said) + 1


@pytest.mark.parametrize(("start", "parent"), [("base", "base"), ("parent", NAME)])
def test_training_starts_from_the_base_or_from_what_serves(
    here: World, start: Literal["base", "parent"], parent: str
) -> None:
    configured(here, train=TrainConfig(start=start))
    assert here.run().cycle.status == "promoted"
    here.log("how many boxes do 30 eggs of 6 fill?", ("box_count", {"eggs": 30, "box_size": 6}, 5))
    second = value_of(here.run(), stages.TRAIN)
    with here.ledger() as ledger:
        assert {row.name: row.parent for row in ledger.adapters()} == {NAME: "base", second.name: parent}
    assert (read_manifest(second.folder).parent or "base") == parent


def test_the_ledger_says_whose_turns_an_adapter_learned_from(here: World) -> None:
    with InteractionLog(here.data / "interactions.db") as log:
        made = turn("add 5 and 6 to prices, please", ("add_prices", {"first": 5, "second": 6}, 11))
        log.append(made, session="k", source="gateway", owner="key", tenant="acme")
    here.run()
    with here.ledger() as ledger:
        assert lessons_of(ledger.cycles()[0])["tenants"] == {"": 1, "acme": 1}
        assert read_manifest(here.data / "adapters" / NAME).tenants == {"": 1, "acme": 1}
        shown = adapters_text(ledger.adapters(), NAME, {}, {1: lessons_of(ledger.cycles()[0])}, {}, candidate=NAME)
    assert "turns by tenant: (none) 1, acme 1" in shown
    assert f"* {NAME}  on trial" in shown


def test_tools_that_the_model_writes_are_learned_with_and_do_not_serve(here: World) -> None:
    inventor, learner = Inventor(), here.server._script
    here.learner._words["share_of_bill"] = "Split a bill among friends"

    def script(request: dict[str, Any]) -> Says:
        prompt = str(request.get("prompt"))
        inventing = "# Small Python functions" in prompt or prompt.endswith(("Function:", f"{UNSERVED}\nCall:"))
        return (inventor if inventing else learner)(request)

    here.server._script = script
    here.log(UNSERVED, answer="I have no tool for that.")
    make = here.config.evolver.make.model_copy(update={"tools_per_cycle": 2, "self_consistency_requests": 0})
    evolver = here.config.evolver.model_copy(update={"make": make})
    here.config = here.config.model_copy(update={"evolver": evolver})
    report = here.run()
    assert report.cycle.status == "promoted", report.cycle.reason
    invented = value_of(report, stages.TOOLS)
    assert (invented.tried, invented.kept) == (1, 1), invented
    with here.ledger() as ledger:
        (tool,) = ToolPool(here.data, ledger).tools()
        assert (tool.name, tool.state, tool.request) == ("share_of_bill", "waiting", UNSERVED)
        assert ledger.cycles()[0].summary["tools"]["kept"] == 1
    folder = here.data / "cycles/0001"
    assert "share_of_bill" in {call["name"] for one in lines(folder / "kept.jsonl") for call in one["calls"]}
    assert "share_of_bill" in (folder / "dataset/train.jsonl").read_text()
    chats = [request for request in here.server.requests if "messages" in request and request.get("tools")]
    assert chats
    assert "share_of_bill" not in json.dumps([request["tools"] for request in chats])
    assert not (here.data / "approved_tools").exists()


def test_without_a_budget_no_tool_is_made_and_no_code_runs(here: World) -> None:
    here.log(UNSERVED, answer="I have no tool for that.")
    assert here.run().of(stages.TOOLS) is None
    assert "tools" not in here.begun()
    assert "made" not in {module for module, _ in here.sandbox.calls}


def test_calls_that_a_tool_no_longer_takes_are_not_learned_again(here: World) -> None:
    """People rename parameters; what was learned before is not learned under the new schema."""
    here.run()
    kept = here.data / "cycles/0001/kept.jsonl"
    kept.write_text(kept.read_text().replace('"box_size"', '"size_of_box"'))
    here.log("add 5 and 9 to prices, please", ("add_prices", {"first": 5, "second": 9}, 14))
    here.run()
    learned = (here.data / "cycles/0002/dataset/train.jsonl").read_text()
    assert "box_size" in learned
    assert "size_of_box" not in learned
