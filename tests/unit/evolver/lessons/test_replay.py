"""What earlier cycles kept, and is still right."""

from pathlib import Path
from typing import Any

import pytest

from agent.interaction_log import InteractionLog
from evolver.earlier import still_right
from evolver.jsonl import append_lines
from evolver.ledger import Ledger
from evolver.markers import cycle_folder, write_marker
from evolver.types import Mined, Trace
from tests.fakes.evolution import trace, turn


class Place:
    """Two cycles that ended, and a third that runs."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.ledger = Ledger(data / "evolution.db")
        with InteractionLog(data / "interactions.db") as log:
            self.turns = [log.append(turn(f"add {n}"), session="s", source="chat") for n in range(4)]

    def cycle(self, *kept: Trace, status: Any = "rejected") -> None:
        number = self.ledger.open_cycle().number
        append_lines(cycle_folder(self.data, number) / "kept.jsonl", kept)
        self.ledger.end_cycle(number, status, "")

    def lived(self, number: int, **rest: Any) -> Trace:
        one = trace(f"add {number}", "add", {"n": number}, 1, maker="log", identity=f"log-{number}")
        return one.model_copy(update={"origin": self.turns[number], "calls_from": self.turns[number], **rest})

    def say(self, number: int, verdict: Any) -> None:
        with InteractionLog(self.data / "interactions.db") as log:
            log.feedback(self.turns[number], verdict)

    def ids(self, before: int | None = None) -> list[str]:
        failed = {cycle.number for cycle in self.ledger.cycles() if cycle.status == "failed"}
        return [one.id for one in still_right(self.data, before=before, failed=failed)]

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
    repaired = place.lived(1, maker="repaired", calls_from=place.turns[2], also_from=(place.turns[2],))
    place.cycle(place.lived(0), repaired, place.lived(3, also_from=(place.turns[0],)))
    for number in (0, 1):
        place.say(number, "bad")
    assert place.ids() == ["0001/log-1", "0001/log-3"], "a bad turn is what its repair is for"
    place.say(0, "good")
    place.say(2, "bad")
    assert place.ids() == ["0001/log-0", "0001/log-3"]


def test_a_lesson_that_does_not_say_whose_calls_it_has_is_older(place: Place) -> None:
    later = (place.turns[2],)
    place.cycle(place.lived(0, calls_from=""), place.lived(1, calls_from="", maker="repaired", also_from=later))
    for number in (0, 1):
        place.say(number, "bad")
    assert place.ids() == ["0001/log-1"]
    place.say(2, "bad")
    assert place.ids() == []


def test_what_was_repaired_since_is_not_learned_again_whatever_became_of_the_repair(place: Place) -> None:
    place.cycle(place.lived(0), place.lived(1))
    assert place.ids(before=2) == ["0001/log-0", "0001/log-1"]
    place.mined(2, place.lived(0, maker="repaired", id="repaired-0", calls_from=place.turns[2]))
    assert place.ids(before=2) == ["0001/log-1"], "the cycle that runs has found it"
    place.cycle(MADE)
    assert place.ids() == ["0001/log-1", "0002/made"]
