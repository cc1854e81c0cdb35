"""Whether a candidate of a cycle serves, waits or goes on trial; and the way back."""

from pathlib import Path

import pytest

from agent.adapters import active
from agent.errors import AdapterInvalid
from agent.serving import serving_state
from evolver.config import GateConfig, ReleaseConfig
from evolver.cycle import stages
from evolver.release import release
from evolver.types import Adapter
from tests.fakes.evolution import tamper
from tests.fakes.evolver_world import ITEMS, World
from tests.fakes.stages import value_of
from tests.fakes.whole_cycle import NAME, configured, end, serving
from toolkit.errors import UserError


def test_going_back_after_a_promotion(here: World) -> None:
    here.run()
    with here.ledger() as ledger:
        running = serving_state.read(here.data)
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


def test_what_the_gate_passes_waits_for_a_person_who_wants_to_approve(here: World) -> None:
    configured(here, release=ReleaseConfig(approval=True))
    report = here.run()
    assert report.cycle.status == "waiting"
    assert report.cycle.reason.startswith("waits for: evolver approve; passed")
    assert (serving(here), end(here)["adapters"], end(here)["releases"]) == ("base", [(NAME, "waiting", "base", 7)], [])
    with here.ledger() as ledger:
        assert ledger.mined_up_to() != ""


def test_what_the_gate_passes_goes_on_trial_where_that_is_wanted(here: World) -> None:
    configured(here, release=ReleaseConfig(canary_share=0.25))
    report = here.run()
    assert (report.cycle.status, serving(here)) == ("waiting", "base")
    assert report.cycle.reason.startswith("on trial with 25% of the sessions; passed")
    canary = active.read(here.data).canary
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
    assert (
        value_of(report, stages.GATE).reasons[-1] == "passed: talk: as many of 3 are right as before (allowed: 0 fewer)"
    )
    assert report.cycle.status == "promoted"


def test_old_skills_and_other_names_can_be_guards_too(here: World) -> None:
    configured(here, gate=GateConfig(guard_suites=("replay", "heldout:shuffled")))
    first = here.run()
    assert [reason for reason in value_of(first, stages.GATE).reasons if "replay" in reason] == []
    assert "heldout:shuffled: " in value_of(first, stages.GATE).reasons[-1]
    here.log("add 5 and 9 to prices, please", ("add_prices", {"first": 5, "second": 9}, 14))
    second = here.run()
    assert [reason.split(": ")[1] for reason in value_of(second, stages.GATE).reasons[-2:]] == [
        "replay",
        "heldout:shuffled",
    ]


def test_a_guard_that_is_no_suite_ends_the_cycle_and_says_so(here: World) -> None:
    configured(here, gate=GateConfig(guard_suites=("heldout:upside_down",)))
    report = here.run()
    assert report.cycle.status == "failed"
    assert "guard_suites: there is no variant 'upside_down'" in report.cycle.reason
    assert serving(here) == "base"
