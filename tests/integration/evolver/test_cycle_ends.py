"""A whole cycle against a model at the wire: how it ends, and that a kill at any boundary changes nothing."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

from agent.errors import ModelUnavailable
from agent.interaction_log import InteractionLog
from agent.serving import active_adapter, state
from evolver import cycle, lease, release
from evolver.adapter_files import read_manifest
from evolver.config import GateConfig, ReleaseConfig
from evolver.cycle import STAGES
from evolver.cycle_report import CycleReport
from evolver.errors import AdapterInvalid, Busy, DiskFull, TrainError
from evolver.ledger import Ledger
from evolver.show import adapters_text, lessons_of
from evolver.tool_pool import ToolPool
from evolver.train import TrainConfig
from evolver.types import Adapter
from tests.fakes import shop_tools
from tests.fakes.evolution import tamper, turn
from tests.fakes.evolver_world import ITEMS, World, lines, world
from tests.fakes.inventor import Inventor
from tests.fakes.model_server import Says
from tests.fakes.sandbox import LosingSandbox
from toolkit.describing import describe
from toolkit.errors import SandboxUnavailable, UserError
from toolkit.execute import Executor
from toolkit.sandbox import ExecResult
from toolkit.tool import ToolCall

NAME = "adapter-0001"
UNSERVED = "How much does each of 4 friends pay of a bill of 90?"
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
        measured = [(one.model, one.suite) for one in ledger.evaluations()]
    assert row.sha256 == active_adapter.read(here.data).sha256
    assert row.dataset_sha256 == report.dataset.sha256
    assert measured == [(NAME, "heldout"), ("base", "heldout")]


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
    assert report.made is not None
    assert report.made.by_maker["log"] == 1
    assert report.verified is not None
    assert report.verified.kept_by_maker["log"] == 1, "what the failed cycle kept of it is no earlier lesson"
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


@pytest.mark.parametrize("verdict", ["good", "bad"])
def test_a_turn_that_is_called_bad_after_it_taught_is_not_learned_again(
    here: World, verdict: Literal["good", "bad"]
) -> None:
    evolver = here.config.evolver
    all_again = evolver.dataset.model_copy(update={"replay_share": 0.9})
    here.config = here.config.model_copy(update={"evolver": evolver.model_copy(update={"dataset": all_again})})
    first = here.run()
    assert first.verified is not None
    assert first.verified.kept_by_maker["log"] == 1
    with InteractionLog(here.data / "interactions.db") as log:
        (taught,) = (one for one in log.read() if one.trajectory.calls)
        log.feedback(taught.id, verdict)
    second = here.run()
    assert second.dataset is not None
    assert second.dataset.replayed > 0
    rows = [row for name in ("train", "valid") for row in lines(second.dataset.folder / f"{name}.jsonl")]
    assert (taught.id in {row["origin"] for row in rows}) is (verdict == "good")


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
    assert report.dataset is not None
    rows = [row for name in ("train", "valid") for row in lines(report.dataset.folder / f"{name}.jsonl")]
    talked = [row for row in rows if row["origin"] and len(row["messages"]) > len(said)]
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
    second = here.run().adapter
    assert second is not None
    with here.ledger() as ledger:
        assert {row.name: row.parent for row in ledger.adapters()} == {NAME: "base", second.name: parent}
    assert (read_manifest(second.folder).parent or "base") == parent


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
    with here.ledger() as ledger, lease.held(ledger, 60), pytest.raises(Busy, match="runs a cycle; wait for its end"):
        here.run()
    assert here.run().cycle.status == "promoted"


@pytest.mark.parametrize("damage", ['{"of": "another version"}', "", '{"half'])
@pytest.mark.parametrize("stage", ["mine", "verify", "load"])
def test_a_marker_that_means_nothing_is_made_again_with_all_after_it(here: World, stage: str, damage: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        here.run(kill_at("gate"))
    (here.data / "cycles" / "0001" / f"{stage}.json").write_text(damage)
    here.said.clear()
    assert here.run().cycle.status == "promoted"
    assert here.begun() == WITH_INCUMBENT[WITH_INCUMBENT.index(stage) :]
    assert serving(here) == NAME


def test_markers_after_one_that_is_made_again_do_not_survive_a_kill(here: World) -> None:
    with pytest.raises(KeyboardInterrupt):
        here.run(kill_at("gate"))
    folder = here.data / "cycles" / "0001"
    (folder / "verify.json").write_text("{}")
    with pytest.raises(KeyboardInterrupt):
        here.run(kill_at("verify"))
    assert sorted(marker.stem for marker in folder.glob("*.json")) == ["make", "mine"]


def test_a_failed_training_leaves_no_work_behind(here: World) -> None:
    here.training.fails = TrainError("crashed", "exit code 1")
    work = here.data / "adapters" / f".{NAME}.work"
    work.mkdir(parents=True)
    assert here.run().cycle.status == "failed"
    assert not work.exists()


def configured(here: World, **tables: Any) -> None:
    here.config = here.config.model_copy(update={"evolver": here.config.evolver.model_copy(update=tables)})


def test_what_the_gate_passes_waits_for_a_person_who_wants_to_approve(here: World) -> None:
    configured(here, release=ReleaseConfig(approval=True))
    report = here.run()
    assert report.cycle.status == "waiting"
    assert report.cycle.reason.startswith("waits for: evolver approve; passed")
    assert (serving(here), end(here)["adapters"], end(here)["releases"]) == ("base", [(NAME, "waiting", "base", 7)], [])
    with here.ledger() as ledger:
        assert ledger.mined_up_to() != ""


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


def test_what_the_gate_passes_goes_on_trial_where_that_is_wanted(here: World) -> None:
    configured(here, release=ReleaseConfig(canary_share=0.25))
    report = here.run()
    assert (report.cycle.status, serving(here)) == ("waiting", "base")
    assert report.cycle.reason.startswith("on trial with 25% of the sessions; passed")
    canary = active_adapter.read(here.data).canary
    assert canary is not None
    assert (canary.name, canary.share) == (NAME, 0.25)
    assert end(here)["adapters"] == [(NAME, "waiting", "base", 7)]
    assert [(change[0], change[1]) for change in end(here)["releases"]] == [("base", "base")]


def test_nothing_takes_the_place_of_what_is_pinned_by_itself(here: World) -> None:
    here.run()
    with here.ledger() as ledger:
        ledger.pin(NAME, True)
    here.learner.unskilled = {NAME}
    for file in (here.data / "evaluations").glob(f"*{NAME}*"):
        file.unlink()
    here.log("how many boxes do 30 eggs of 6 fill?", ("box_count", {"eggs": 30, "box_size": 6}, 5))
    report = here.run()
    assert (report.cycle.status, serving(here)) == ("waiting", NAME)
    assert f"{NAME} is pinned" in report.cycle.reason


def test_what_was_compared_with_something_that_serves_no_more_waits(here: World) -> None:
    """The monitor, or a person, went back while the cycle ran."""
    here.run()
    here.learner.unskilled = {NAME}
    for file in (here.data / "evaluations").glob(f"*{NAME}*"):
        file.unlink()
    here.log("how many boxes do 30 eggs of 6 fill?", ("box_count", {"eggs": 30, "box_size": 6}, 5))

    def go_back(stage: str, share: float, _: str) -> None:
        if (stage, share) == ("gate", 0.0):
            with here.ledger() as ledger:
                release.rollback(here.data, ledger, None, reason="test")

    report = here.run(go_back)
    assert (report.cycle.status, serving(here)) == ("waiting", "base")
    assert report.cycle.reason.startswith(f"waits: it was compared with {NAME}, and base serves now")


def test_guard_suites_are_asked_and_their_verdict_is_kept(here: World, tmp_path: Path) -> None:
    talk = [item for item in ITEMS if not item.expected]
    (tmp_path / "suites" / "talk.jsonl").write_text("".join(item.model_dump_json() + "\n" for item in talk))
    configured(here, gate=GateConfig(guard_suites=("talk",)))
    report = here.run()
    assert report.decision is not None
    assert report.decision.reasons[-1] == "passed: talk: +0 of 3 requests lost (at most 0.2)"
    assert report.cycle.status == "promoted"


def test_old_skills_and_other_names_can_be_guards_too(here: World) -> None:
    configured(here, gate=GateConfig(guard_suites=("replay", "heldout:shuffled")))
    first = here.run()
    assert first.decision is not None
    assert [reason for reason in first.decision.reasons if "replay" in reason] == []
    assert "heldout:shuffled: " in first.decision.reasons[-1]
    here.log("add 5 and 9 to prices, please", ("add_prices", {"first": 5, "second": 9}, 14))
    second = here.run()
    assert second.decision is not None
    assert [reason.split(": ")[1] for reason in second.decision.reasons[-2:]] == ["replay", "heldout:shuffled"]


def test_a_guard_that_is_no_suite_ends_the_cycle_and_says_so(here: World) -> None:
    configured(here, gate=GateConfig(guard_suites=("heldout:upside_down",)))
    report = here.run()
    assert report.cycle.status == "failed"
    assert "guard_suites: there is no variant 'upside_down'" in report.cycle.reason
    assert serving(here) == "base"


def test_a_cycle_never_changes_the_world(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in verification, and not in evaluation, where a candidate may call whatever it is shown."""
    opened: list[Executor] = []
    before = here.executor

    @contextmanager
    def remembered(*arguments: Any, **options: Any) -> Iterator[Executor]:
        with before(*arguments, **options) as executor:
            opened.append(executor)
            yield executor

    monkeypatch.setattr(cycle, "open_executor", remembered)
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


def test_tools_that_the_model_writes_are_learned_with_and_do_not_serve(here: World) -> None:
    inventor, learner = Inventor(), here.server._script
    here.learner._words["share_of_bill"] = "Split a bill among friends"

    def script(request: dict[str, Any]) -> Says:
        prompt = str(request.get("prompt"))
        inventing = "# Small Python functions" in prompt or prompt.endswith(
            ("Function:", "Definition:", f"{UNSERVED}\nCall:")
        )
        return (inventor if inventing else learner)(request)

    here.server._script = script
    here.log(UNSERVED, answer="I have no tool for that.")
    make = here.config.evolver.make.model_copy(
        update={"tools_per_cycle": 2, "definitions_per_cycle": 9, "question_first": 0}
    )
    evolver = here.config.evolver.model_copy(update={"make": make})
    here.config = here.config.model_copy(update={"evolver": evolver})
    report = here.run()
    assert report.cycle.status == "promoted", report.cycle.reason
    assert report.tools is not None
    assert (report.tools.invented.tried, report.tools.invented.kept) == (1, 1), report.tools
    assert (report.tools.defined.tried, report.tools.defined.right) == (4, 1)
    with here.ledger() as ledger:
        (tool,) = ToolPool(here.data, ledger).tools()
        assert (tool.name, tool.state, tool.request) == ("share_of_bill", "waiting", UNSERVED)
        assert ledger.cycles()[0].summary["tools"]["invented"]["kept"] == 1
    folder = here.data / "cycles/0001"
    assert "share_of_bill" in {call["name"] for one in lines(folder / "kept.jsonl") for call in one["calls"]}
    assert "share_of_bill" in (folder / "dataset/train.jsonl").read_text()
    chats = [request for request in here.server.requests if "messages" in request and request.get("tools")]
    assert chats
    assert "share_of_bill" not in json.dumps([request["tools"] for request in chats])
    assert not (here.data / "approved_tools").exists()


def test_without_a_budget_no_tool_is_made_and_no_code_runs(here: World) -> None:
    here.log(UNSERVED, answer="I have no tool for that.")
    assert here.run().tools is None
    assert "tools" not in here.begun()
    assert "made" not in {module for module, _ in here.sandbox.calls}
