"""A turn is one turn, however many exchanges it took."""

from agent.turn.messages import Interaction
from evolver.config import MonitorConfig
from evolver.release.monitor import watch
from evolver.store.sessions import troubles, whole_turns
from tests.fakes.evolution import interaction, turn
from toolkit.tool import ToolErrorKind

OLD, NEW = "adapter-0001", "adapter-0002"


def client_turn(number: int, adapter: str, *, failed: bool = False, first_verdict: str = "") -> list[Interaction]:
    """Two exchanges of a client that runs its own tool: the call, then the answer to its result."""
    asked = turn(f"where is parcel {number}?", adapter=adapter, answer="").model_copy(update={"latency_ms": 40.0})
    result = ToolErrorKind.TIMEOUT if failed else 1
    answered = turn(f"where is parcel {number}?", ("find", {}, result), adapter=adapter)
    first = interaction(asked, 2 * number, session=f"s{number}", verdict=first_verdict)
    second = interaction(answered.model_copy(update={"latency_ms": 60.0}), 2 * number + 1, session=f"s{number}")
    return [first, second.model_copy(update={"continues": first.id})]


def test_exchanges_of_one_turn_are_one_turn_with_all_that_belongs_to_it() -> None:
    log = [*client_turn(1, NEW, first_verdict="bad"), interaction(turn("hello"), 9)]
    first, second = whole_turns(log)
    assert (first.id, second.id) == (log[1].id, log[2].id)
    assert [feedback.verdict for feedback in first.feedback] == ["bad"]
    assert first.trajectory.latency_ms == 100.0
    assert first.created_at == log[0].created_at
    assert len(first.trajectory.results) == 1


def test_three_exchanges_are_one_turn_too() -> None:
    log = [interaction(turn("q").model_copy(update={"latency_ms": 1.0}), n) for n in (1, 2, 3)]
    log[1] = log[1].model_copy(update={"continues": log[0].id})
    log[2] = log[2].model_copy(update={"continues": log[1].id})
    (found,) = whole_turns(log)
    assert (found.id, found.trajectory.latency_ms) == (log[2].id, 3.0)


def test_a_first_part_that_is_not_in_sight_changes_nothing() -> None:
    (_, second) = client_turn(1, NEW)
    assert whole_turns([second]) == [second]


def test_going_on_with_a_turn_is_not_asking_again() -> None:
    turns = whole_turns([part for n in range(5) for part in client_turn(n, NEW)])
    assert not any(troubles(turns)["asked again"](turn) for turn in turns)


def test_two_owners_with_sessions_of_one_name_do_not_ask_each_others_questions_again() -> None:
    log = [
        interaction(turn("where is my parcel?"), n, session="main").model_copy(update={"owner": owner})
        for n, owner in enumerate(("ann", "ben", "ann"))
    ]
    again = troubles(log)["asked again"]
    assert [again(turn) for turn in log] == [True, False, False]
    assert not any(map(troubles(log[:2])["asked again"], log[:2]))


def test_the_monitor_counts_each_turn_once() -> None:
    log = [part for n in range(20) for part in client_turn(n, OLD)]
    log += [part for n in range(20, 40) for part in client_turn(n, NEW, failed=True)]
    finding = watch(MonitorConfig(minimum_interactions=10), log, current=NEW, previous=OLD)
    assert finding is not None
    assert finding.reason == f"turns with a failed call: 20 of 20 with {NEW}, 0 of 20 with {OLD}"


def test_a_lost_worker_is_no_trouble_of_the_model() -> None:
    for kind, is_trouble in ((ToolErrorKind.TIMEOUT, True), (ToolErrorKind.LOST, False)):
        made = interaction(turn("q", ("t", {}, kind), ("t", {}, 1)), 1)
        found = troubles([made])
        assert [found[name](made) for name in ("with a failed call", "with a repair")] == [is_trouble] * 2
