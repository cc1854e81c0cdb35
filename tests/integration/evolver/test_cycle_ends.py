"""How a whole cycle ends, against a model at the wire."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from agent.adapters import active
from agent.errors import ModelUnavailable
from agent.serving import serving_state
from evolver.cycle import stages
from evolver.cycle.report import CycleReport
from evolver.errors import Busy, DiskFull, TrainError
from evolver.store import lease
from evolver.types import Adapter
from tests.fakes import shop_tools
from tests.fakes.evolution import tamper
from tests.fakes.evolver_world import ITEMS, World, lines
from tests.fakes.sandbox import LosingSandbox
from tests.fakes.stages import value_of
from tests.fakes.whole_cycle import NAME, NAMES, PROMOTED, end, serving
from toolkit import execute
from toolkit.describing import describe
from toolkit.errors import SandboxUnavailable, UserError
from toolkit.execute import Executor
from toolkit.sandbox import ExecResult
from toolkit.tool import ToolCall


def test_a_cycle_whose_adapter_learned_ends_promoted(here: World) -> None:
    report = here.run()
    assert report.cycle.status == "promoted", report.cycle.reason
    assert end(here) == PROMOTED
    assert here.begun() == NAMES
    check_values(here, report)


def test_no_cycle_begins_where_the_server_was_started_with_other_settings(here: World) -> None:
    state = serving_state.running(here.data)
    serving_state.write(here.data, state.model_copy(update={"settings": {"[agent.prompt] judge_tools": False}}))
    with pytest.raises(UserError, match=r"\[agent.prompt\] judge_tools is true here, and was false"):
        here.run()
    with here.ledger() as ledger:
        assert ledger.cycles() == []


def check_values(here: World, report: CycleReport) -> None:
    assert value_of(report, stages.MAKE).by_kind["logged"] == 1
    assert 0 < value_of(report, stages.VERIFY).kept <= value_of(report, stages.MAKE).traces
    scores = (value_of(report, stage) for stage in (stages.INCUMBENT, stages.EVALUATE))
    assert [(one.model, one.call_accuracy.hits) for one in scores] == [("base", 0), (NAME, 7)]
    assert value_of(report, stages.EVALUATE).irrelevance_accuracy.hits == 3
    assert value_of(report, stages.GATE).promote
    assert set(report.cycle.summary) == {*NAMES} - {"promote"}
    rows = lines(value_of(report, stages.DATASET).folder / "train.jsonl") + lines(
        value_of(report, stages.DATASET).folder / "valid.jsonl"
    )
    assert {row["messages"][0]["content"] for row in rows}.isdisjoint(item.request for item in ITEMS)
    with here.ledger() as ledger:
        (row,) = ledger.adapters()
        measured = [(one.model, one.suite) for one in ledger.evaluations()]
    assert row.sha256 == active.read(here.data).sha256
    assert row.dataset_sha256 == value_of(report, stages.DATASET).sha256
    assert measured == [(NAME, "heldout"), ("base", "heldout")]


def test_a_cycle_whose_adapter_learned_nothing_ends_rejected(here: World) -> None:
    here.learner.unskilled = {NAME}
    report = here.run()
    assert report.cycle.status == "rejected"
    assert "failed: soft score" in report.cycle.reason
    assert end(here) == {
        **PROMOTED,
        "cycles": [(1, "rejected", True, True)],
        "adapters": [(NAME, "rejected", "base", 0)],
        "releases": [],
        "serving": "base",
    }


def test_an_adapter_that_cannot_be_proved_is_not_promoted(here: World) -> None:
    here.training.probe = None
    report = here.run()
    assert (report.cycle.status, serving(here)) == ("rejected", "base")
    assert "failed: not proved to be what was trained: its trainer wrote down no probe" in report.cycle.reason
    assert report.cycle.summary["load"] == {"adapter": NAME, "proofs": []}


def test_without_a_trace_that_calls_there_is_nothing_to_do(here: World) -> None:
    here.learner.talks_only = True
    (here.data / "interactions.db").unlink()
    report = here.run()
    assert report.cycle.status == "nothing_to_do"
    assert here.training.trained == []
    assert serving(here) == "base"
    assert "dataset" not in here.begun()


def break_training(here: World) -> None:
    here.training.fails = TrainError("memory", "there was no room")


def break_sandbox(here: World) -> None:
    def run(*_: Any, **__: Any) -> ExecResult:
        raise SandboxUnavailable("no room for a sandbox")

    here.sandbox.run = run  # type: ignore[method-assign]


def refuse_the_adapter(here: World) -> None:
    here.server.refuses.add(NAME)


@pytest.mark.parametrize(
    ("harm", "stage", "cause"),
    [
        (break_training, "train", "TrainError: training failed (memory): there was no room"),
        (break_sandbox, "make", "SandboxUnavailable: no room for a sandbox"),
        (refuse_the_adapter, "load", "AdapterError: vLLM does not load adapter-0001"),
    ],
)
def test_a_stage_that_fails_is_recorded_with_its_cause(here: World, harm: Any, stage: str, cause: str) -> None:
    harm(here)
    report = here.run()
    assert (report.cycle.status, report.cycle.stage) == ("failed", stage)
    assert report.cycle.reason.startswith(cause)
    assert report.cycle.ended_at is not None
    assert serving(here) == "base"


def test_a_server_with_another_key_leaves_the_cycle_open(here: World) -> None:
    """It was started again, and its key is written down a moment later."""
    found = serving_state.read(here.data)
    assert found is not None
    serving_state.write(here.data, found.model_copy(update={"vllm_key": "wrong"}))
    with pytest.raises(ModelUnavailable, match="does not take this key"):
        here.run()
    serving_state.write(here.data, found)
    assert here.run().cycle.number == 1
    assert end(here) == PROMOTED


@pytest.mark.parametrize(
    "error",
    [
        TrainError("disk", "cannot write the adapter: [Errno 28] No space left on device"),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
    ],
)
def test_a_training_that_finds_no_room_leaves_the_cycle_open(here: World, error: Exception) -> None:
    here.training.fails = error
    with pytest.raises(DiskFull, match="go on with: evolver cycle"):
        here.run()
    here.training.fails = None
    assert here.run().cycle.number == 1
    assert end(here) == PROMOTED


def test_a_disk_that_takes_nothing_for_another_reason_fails_the_cycle(here: World) -> None:
    here.training.fails = TrainError("disk", "cannot write the adapter: [Errno 30] Read-only file system")
    assert here.run().cycle.status == "failed"


def test_after_a_failed_cycle_the_next_one_begins_anew_with_the_same_log(here: World) -> None:
    break_training(here)
    here.run()
    here.training.fails = None
    report = here.run()
    assert (report.cycle.number, report.cycle.status) == (2, "promoted")
    assert value_of(report, stages.MAKE).by_kind["logged"] == 1
    assert value_of(report, stages.VERIFY).kept_by_kind["logged"] == 1, (
        "what the failed cycle kept of it is no earlier lesson"
    )
    assert serving(here) == "adapter-0002"


def test_an_adapter_that_was_tampered_with_before_loading_is_refused(here: World) -> None:
    def on_progress(stage: str, share: float, _: str) -> None:
        if (stage, share) == ("load", 0.0):
            tamper(Adapter(name=NAME, folder=here.data / "adapters" / NAME, sha256=""))

    report = here.run(on_progress)
    assert (report.cycle.status, report.cycle.stage) == ("failed", "load")
    assert report.cycle.reason.startswith("AdapterInvalid")
    assert here.server.models == ["base"]
    assert serving(here) == "base"


def test_one_cycle_at_a_time(here: World) -> None:
    with here.ledger() as ledger, lease.held(ledger, 60), pytest.raises(Busy, match="runs a cycle; wait for its end"):
        here.run()
    assert here.run().cycle.status == "promoted"


def test_a_failed_training_leaves_no_work_behind(here: World) -> None:
    here.training.fails = TrainError("crashed", "exit code 1")
    work = here.data / "adapters" / f".{NAME}.work"
    work.mkdir(parents=True)
    assert here.run().cycle.status == "failed"
    assert not work.exists()


def test_a_cycle_never_changes_the_world(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in verification, and not in evaluation, where a candidate may call whatever it is shown."""
    opened: list[Executor] = []
    before = here.executor

    @contextmanager
    def remembered(*arguments: Any, **options: Any) -> Iterator[Executor]:
        with before(*arguments, **options) as executor:
            opened.append(executor)
            yield executor

    monkeypatch.setattr(execute, "open_executor", remembered)
    here.run()
    bell = describe(shop_tools.ring_bell)
    assert [executor.allows(bell) for executor in opened] == [False]
    opened[0].registry.add(bell)
    result = opened[0].execute(ToolCall(id="1", name="ring_bell", arguments={"times": 1}))
    assert result.error is not None
    assert "not run" in result.error.message


def test_a_worker_that_is_lost_costs_a_cycle_no_lesson(here: World) -> None:
    here.sandbox = LosingSandbox(1)
    assert here.run().cycle.status == "promoted"
    assert here.sandbox.losing == 0


def test_a_pool_that_loses_every_worker_fails_the_cycle_and_judges_nothing(here: World) -> None:
    here.sandbox = LosingSandbox(10**9)
    report = here.run()
    assert report.cycle.status == "failed"
    assert "was lost twice" in report.cycle.reason
    assert not list((here.data / "cycles").rglob("verdicts.jsonl"))
