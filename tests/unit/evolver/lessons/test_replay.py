"""What earlier cycles kept, and is still right."""

from pathlib import Path
from typing import Any

import pytest

from agent.log.interaction_log import InteractionLog
from evolver.lessons.replay import still_right
from evolver.store.cycle_folder import cycle_folder, write_marker
from evolver.store.jsonl import append_lines
from evolver.store.ledger import Ledger
from evolver.types import Mined, Trace, TraceKind
from tests.fakes.evolution import trace, turn


class Place:
    """Two cycles that ended, and a third that runs."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.ledger = Ledger(data / "evolution.db")
        with InteractionLog(data / "interactions.db") as log:
            self.turns = [log.append(turn(f"add {n}"), session="s", source="chat") for n in range(4)]
            self.theirs = log.append(turn("add 9", adapter="upstream:gpt"), session="s", source="gateway")

    def cycle(self, *kept: Trace, status: Any = "rejected") -> None:
        number = self.ledger.open_cycle().number
        append_lines(cycle_folder(self.data, number) / "kept.jsonl", kept)
        self.ledger.end_cycle(number, status, "")

    def lived(self, number: int, kind: TraceKind = TraceKind.LOGGED, *, by: int | None = None, **sources: Any) -> Trace:
        own, calls = self.turns[number], self.turns[number if by is None else by]
        one = trace(f"add {number}", "add", {"n": number}, 1, kind=kind, identity=f"log-{number}")
        return one.sourced(interaction_id=own, calls_interaction_id=calls, **sources)

    def say(self, number: int, verdict: Any) -> None:
        with InteractionLog(self.data / "interactions.db") as log:
            log.feedback(self.turns[number], verdict)

    def ids(self, before: int | None = None, **options: Any) -> list[str]:
        failed = {cycle.number for cycle in self.ledger.cycles() if cycle.status == "failed"}
        return [one.id for one in still_right(self.data, before=before, failed=failed, **options)]

    def mined(self, number: int, *worked: Trace) -> None:
        write_marker(
            cycle_folder(self.data, number) / "mine.json", Mined(interactions=1, last_interaction_id="", worked=worked)
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


MADE = trace("add 7", "add", {"n": 7}, 1, identity="made")


def test_each_is_named_with_its_cycle(place: Place) -> None:
    place.cycle(place.lived(0), MADE)
    place.cycle(MADE)
    assert place.ids() == ["0001/log-0", "0001/made", "0002/made"]
    assert place.ids(before=2) == ["0001/log-0", "0001/made"]
    assert place.ids(before=1) == []


def test_logged_turns_of_a_failed_cycle_are_mined_again(place: Place) -> None:
    place.cycle(place.lived(0), MADE, status="failed")
    assert place.ids() == ["0001/made"]


def test_what_somebody_has_called_bad_since_is_not_learned_again(place: Place) -> None:
    repaired = place.lived(1, TraceKind.REPAIRED, by=2)
    place.cycle(place.lived(0), repaired, place.lived(3, other_interaction_ids=(place.turns[0],)))
    for number in (0, 1):
        place.say(number, "bad")
    assert place.ids() == ["0001/log-1", "0001/log-3"], "a bad turn is what its repair is for"
    place.say(0, "good")
    place.say(2, "bad")
    assert place.ids() == ["0001/log-0", "0001/log-3"]


def test_what_was_repaired_since_is_not_learned_again_whatever_became_of_the_repair(place: Place) -> None:
    place.cycle(place.lived(0), place.lived(1))
    assert place.ids(before=2) == ["0001/log-0", "0001/log-1"]
    place.mined(2, place.lived(0, TraceKind.REPAIRED, by=2))
    assert place.ids(before=2) == ["0001/log-1"], "the cycle that runs has found it"
    place.cycle(MADE)
    assert place.ids() == ["0001/log-1", "0002/made"]


def test_what_another_model_wrote_is_learned_again_only_while_the_owner_says_so(place: Place) -> None:
    place.cycle(
        place.lived(0, model="upstream:gpt"),
        place.lived(1, TraceKind.REPAIRED, other_interaction_ids=(place.theirs,)),
        place.lived(2, TraceKind.CORRECTED, model="upstream:gpt"),
        # Nothing of theirs: the request that they answered, as a person corrected it, and a client's tools.
        place.lived(3, TraceKind.CORRECTED).sourced(interaction_id=place.theirs, calls_interaction_id=""),
        MADE.sourced(other_interaction_ids=(place.theirs,)),
    )
    assert place.ids() == ["0001/log-3", "0001/made"]
    assert len(place.ids(learn_from_upstream=True)) == 5
