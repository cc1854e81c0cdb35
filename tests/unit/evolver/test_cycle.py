"""A whole cycle against a model at the wire: how it ends, and that a kill at any boundary changes nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.errors import ModelUnavailable
from agent.serving import active_adapter, state
from agent.serving.lock import EVOLVE, process_lock
from evolver import release
from evolver.cycle import STAGES, CycleReport
from evolver.errors import AdapterInvalid, TrainError
from evolver.ledger import Ledger
from evolver.types import Adapter
from tests.fakes.evolution import tamper
from tests.fakes.evolver_world import ITEMS, World, lines, world
from toolkit.errors import SandboxUnavailable, UserError
from toolkit.sandbox import ExecResult

NAME = "adapter-0001"
WITH_INCUMBENT = [stage for s in STAGES for stage in (("incumbent", s) if s == "evaluate" else (s,))]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with world(tmp_path, monkeypatch) as made:
        yield made


def serving(here: World) -> str:
    return active_adapter.read(here.data).name


def end(here: World) -> dict[str, Any]:
    """What remains of a cycle: equal ends are equal here."""
    with here.ledger() as ledger:
        return {
            "cycles": [(c.number, c.status, bool(c.reason), c.last_interaction_id != "") for c in ledger.cycles()],
            "adapters": [(a.name, a.state, a.parent, a.scores["exact"]["hits"]) for a in ledger.adapters()],
            "releases": [(r.adapter, r.previous) for r in ledger.releases()],
            "serving": serving(here),
            "trained": here.training.trained,
            "loaded": here.server.models,
        }


PROMOTED = {
    "cycles": [(1, "promoted", True, True)],
    "adapters": [(NAME, "promoted", "base", 7)],
    "releases": [(NAME, "base")],
    "serving": NAME,
    "trained": [NAME],
    "loaded": ["base", NAME],
}


def kill_at(stage: str, share: float = 0.0) -> Any:
    def on_progress(said: str, done: float, _: str) -> None:
        if (said, done) == (stage, share):
            raise KeyboardInterrupt

    return on_progress


def test_a_cycle_whose_adapter_learned_ends_promoted(here: World) -> None:
    report = here.run()
    assert report.cycle.status == "promoted", report.cycle.reason
    assert end(here) == PROMOTED
    assert here.begun() == WITH_INCUMBENT
    check_values(here, report)


def check_values(here: World, report: CycleReport) -> None:
    assert report.made is not None
    assert report.verified is not None
    assert report.dataset is not None
    assert report.incumbent is not None
    assert report.candidate is not None
    assert report.decision is not None
    assert report.made.by_maker["log"] == 1
    assert 0 < report.verified.kept <= report.made.traces
    assert (report.incumbent.model, report.incumbent.exact.hits) == ("base", 0)
    assert (report.candidate.model, report.candidate.exact.hits, report.candidate.no_call.hits) == (NAME, 7, 3)
    assert report.decision.promote
    assert set(report.cycle.summary) == {*WITH_INCUMBENT} - {"promote"}
    rows = lines(report.dataset.folder / "train.jsonl") + lines(report.dataset.folder / "valid.jsonl")
    assert {row["messages"][0]["content"] for row in rows}.isdisjoint(item.request for item in ITEMS)
    with here.ledger() as ledger:
        (row,) = ledger.adapters()
    assert row.sha256 == active_adapter.read(here.data).sha256
    assert row.dataset_sha256 == report.dataset.sha256


def test_a_cycle_whose_adapter_learned_nothing_ends_rejected(here: World) -> None:
    here.learner.unskilled = {NAME}
    report = here.run()
    assert report.cycle.status == "rejected"
    assert "failed: exact calls" in report.cycle.reason
    assert end(here) == {
        **PROMOTED,
        "cycles": [(1, "rejected", True, True)],
        "adapters": [(NAME, "rejected", "base", 0)],
        "releases": [],
        "serving": "base",
    }


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


def break_key(here: World) -> None:
    """vLLM refuses to load the adapter."""
    found = state.read(here.data)
    assert found is not None
    state.write(here.data, found.model_copy(update={"vllm_key": "wrong"}))


@pytest.mark.parametrize(
    ("harm", "stage", "cause"),
    [
        (break_training, "train", "TrainError: training failed (memory): there was no room"),
        (break_sandbox, "make", "SandboxUnavailable: no room for a sandbox"),
        (break_key, "load", "AdapterError: vLLM does not load adapter-0001"),
    ],
)
def test_a_stage_that_fails_is_recorded_with_its_cause(here: World, harm: Any, stage: str, cause: str) -> None:
    harm(here)
    report = here.run()
    assert (report.cycle.status, report.cycle.stage) == ("failed", stage)
    assert report.cycle.reason.startswith(cause)
    assert report.cycle.ended_at is not None
    assert serving(here) == "base"


def test_after_a_failed_cycle_the_next_one_begins_anew_with_the_same_log(here: World) -> None:
    break_training(here)
    here.run()
    here.training.fails = None
    report = here.run()
    assert (report.cycle.number, report.cycle.status) == (2, "promoted")
    assert report.made is not None
    assert report.made.by_maker["log"] == 1
    assert serving(here) == "adapter-0002"


def test_without_a_server_the_cycle_is_not_begun_or_stays_open(here: World) -> None:
    with pytest.raises(KeyboardInterrupt):
        here.run(kill_at("verify"))
    found = state.read(here.data)
    assert found is not None
    state.remove(here.data, found.pid)
    with pytest.raises(ModelUnavailable, match="agent serve"):
        here.run()
    with here.ledger() as ledger:
        assert [(c.status, c.stage) for c in ledger.cycles()] == [("running", "verify")]


@pytest.mark.parametrize("stage", WITH_INCUMBENT)
def test_killed_at_the_beginning_of_a_stage_it_goes_on_there_to_the_same_end(here: World, stage: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        here.run(kill_at(stage))
    assert here.begun() == WITH_INCUMBENT[: WITH_INCUMBENT.index(stage) + 1]
    assert serving(here) == "base"
    here.said.clear()
    completions = here.learner.completions
    assert here.run().cycle.number == 1
    assert here.begun() == WITH_INCUMBENT[WITH_INCUMBENT.index(stage) :]
    assert end(here) == PROMOTED
    if WITH_INCUMBENT.index(stage) > WITH_INCUMBENT.index("verify"):
        assert here.learner.completions == completions


def test_killed_while_scoring_what_was_answered_is_not_asked_again(here: World) -> None:
    def on_progress(stage: str, share: float, _: str) -> None:
        if stage == "evaluate" and share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        here.run(on_progress)
    kept = len(lines(next((here.data / "evaluations").glob(f"*{NAME}.jsonl"))))
    assert kept > len(ITEMS) / 2
    here.learner.chats.clear()
    here.run()
    assert 0 < here.learner.chats.count(NAME) <= 2 * (len(ITEMS) - kept)
    assert end(here) == PROMOTED


def test_killed_after_publishing_an_adapter_it_is_not_trained_again(here: World) -> None:
    def on_progress(stage: str, share: float, _: str) -> None:
        if (stage, share) == ("load", 0.0):
            (here.data / "cycles" / "0001" / "train.json").unlink()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        here.run(on_progress)
    here.run()
    assert end(here) == PROMOTED


@pytest.mark.parametrize("method", ["record_release", "end_cycle"])
def test_killed_between_the_pointer_and_the_ledger(here: World, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, method, killed)
        with pytest.raises(KeyboardInterrupt):
            here.run()
    assert serving(here) == NAME
    assert here.run().cycle.status == "promoted"
    assert end(here) == PROMOTED


def test_a_server_that_was_restarted_in_between_gets_the_adapter_again(here: World) -> None:
    with pytest.raises(KeyboardInterrupt):
        here.run(kill_at("evaluate"))
    assert here.server.models == ["base", NAME]
    here.server.models.remove(NAME)
    here.run()
    assert end(here) == PROMOTED


def test_an_adapter_that_was_tampered_with_before_loading_is_refused(here: World) -> None:
    def on_progress(stage: str, share: float, _: str) -> None:
        if (stage, share) == ("load", 0.0):
            tamper(Adapter(name=NAME, folder=here.data / "adapters" / NAME, sha256=""))

    report = here.run(on_progress)
    assert (report.cycle.status, report.cycle.stage) == ("failed", "load")
    assert report.cycle.reason.startswith("AdapterInvalid")
    assert here.server.models == ["base"]
    assert serving(here) == "base"


def test_the_second_cycle_starts_from_what_the_first_left(here: World) -> None:
    here.run()
    here.log("how many boxes do 30 eggs of 6 fill?", ("box_count", {"eggs": 30, "box_size": 6}, 5))
    report = here.run()
    assert report.cycle.number == 2
    assert report.cycle.status == "rejected"
    assert report.made is not None
    assert report.made.by_maker["log"] == 1
    assert report.dataset is not None
    assert report.dataset.replayed > 0
    assert report.incumbent is not None
    assert report.incumbent.model == NAME
    assert serving(here) == NAME
    kept = [{row["request"] for row in lines(here.data / "cycles" / n / "kept.jsonl")} for n in ("0001", "0002")]
    assert kept[0].isdisjoint(kept[1])


def test_going_back_after_a_promotion(here: World) -> None:
    here.run()
    with here.ledger() as ledger:
        running = state.read(here.data)
        assert release.rollback(here.data, ledger, running, reason="test") == (NAME, "base")
        assert serving(here) == "base"
        with pytest.raises(UserError, match="nothing to go back to"):
            release.rollback(here.data, ledger, running, reason="test")
        assert release.rollback(here.data, ledger, running, to=NAME, reason="test") == ("base", NAME)
        release.rollback(here.data, ledger, running, to="base", reason="test")
        tamper(Adapter(name=NAME, folder=here.data / "adapters" / NAME, sha256=""))
        with pytest.raises(AdapterInvalid):
            release.rollback(here.data, ledger, running, to=NAME, reason="test")
    assert serving(here) == "base"


def test_one_cycle_at_a_time(here: World) -> None:
    with process_lock(here.data, EVOLVE) as mine:
        assert mine is None
        with pytest.raises(UserError, match="runs a cycle; wait for its end"):
            here.run()
    assert here.run().cycle.status == "promoted"
