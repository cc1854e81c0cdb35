"""A kill at any boundary of a cycle changes nothing of its end."""

from typing import Any

import pytest

from agent.errors import ModelUnavailable
from agent.serving import serving_state
from evolver.store.ledger import Ledger
from tests.fakes.evolver_world import ITEMS, World, lines
from tests.fakes.whole_cycle import NAME, NAMES, PROMOTED, end, kill_at, serving


def test_without_a_server_the_cycle_is_not_begun_or_stays_open(here: World) -> None:
    with pytest.raises(KeyboardInterrupt):
        here.run(kill_at("verify"))
    found = serving_state.read(here.data)
    assert found is not None
    serving_state.remove(here.data, found.pid)
    with pytest.raises(ModelUnavailable, match="agent serve"):
        here.run()
    with here.ledger() as ledger:
        assert [(c.status, c.stage) for c in ledger.cycles()] == [("running", "verify")]


@pytest.mark.parametrize("stage", NAMES)
def test_killed_at_the_beginning_of_a_stage_it_goes_on_there_to_the_same_end(here: World, stage: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        here.run(kill_at(stage))
    assert here.begun() == NAMES[: NAMES.index(stage) + 1]
    assert serving(here) == "base"
    here.said.clear()
    completions = here.learner.completions
    assert here.run().cycle.number == 1
    assert here.begun() == NAMES[NAMES.index(stage) :]
    assert end(here) == PROMOTED
    if NAMES.index(stage) > NAMES.index("verify"):
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


@pytest.mark.parametrize("damage", ['{"of": "another version"}', "", '{"half'])
@pytest.mark.parametrize("stage", ["mine", "verify", "load"])
def test_a_marker_that_means_nothing_is_made_again_with_all_after_it(here: World, stage: str, damage: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        here.run(kill_at("gate"))
    (here.data / "cycles" / "0001" / f"{stage}.json").write_text(damage)
    here.said.clear()
    assert here.run().cycle.status == "promoted"
    assert here.begun() == NAMES[NAMES.index(stage) :]
    assert serving(here) == NAME


def test_markers_after_one_that_is_made_again_do_not_survive_a_kill(here: World) -> None:
    with pytest.raises(KeyboardInterrupt):
        here.run(kill_at("gate"))
    folder = here.data / "cycles" / "0001"
    (folder / "verify.json").write_text("{}")
    with pytest.raises(KeyboardInterrupt):
        here.run(kill_at("verify"))
    assert sorted(marker.stem for marker in folder.glob("*.json")) == ["make", "mine"]
