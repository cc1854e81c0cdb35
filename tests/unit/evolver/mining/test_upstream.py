"""Of what another model wrote there is nothing in any lesson; what people said is theirs."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from agent.log.interaction_log import InteractionLog
from agent.turn.messages import Message, Trajectory
from evolver.config import MineConfig
from evolver.mining.mine import mine
from evolver.mining.turns import LoggedTurns
from evolver.types import Mined, Trace, TraceKind
from tests.fakes.evolution import turn
from toolkit.tool import ToolErrorKind

UPSTREAM, OURS = "upstream:gpt-x", "adapter-0001"
CALL = ("add", {"a": 1, "b": 2}, 3)
FAILED = ("add", {"a": 1}, ToolErrorKind.INVALID_ARGUMENTS)
ASKED = "what do 1 and 2 add up to"


class Log:
    def __init__(self, tmp_path: Any) -> None:
        self.log = InteractionLog(tmp_path / "interactions.db")

    def add(self, trajectory: Trajectory, continues: str = "", session: str = "s") -> str:
        return self.log.append(trajectory, session=session, source="gateway", continues=continues)

    def mined(self, **options: Any) -> Mined:
        return mine(MineConfig(), LoggedTurns.since(self.log, ""), **options)


@pytest.fixture
def log(tmp_path: Any) -> Log:
    return Log(tmp_path)


def theirs(request: str, *calls: Any, **rest: Any) -> Trajectory:
    return turn(request, *calls, adapter=UPSTREAM, answer=rest.pop("answer", "UPSTREAM says three."), **rest)


def ours(request: str, *calls: Any, **rest: Any) -> Trajectory:
    return turn(request, *calls, adapter=OURS, answer=rest.pop("answer", "It is 3."), **rest)


def said_of(traces: Sequence[Trace]) -> str:
    return json.dumps([trace.model_dump(mode="json") for trace in traces])


def test_a_turn_that_worked_is_a_task_and_no_lesson(log: Log) -> None:
    log.add(theirs(ASKED, CALL))
    found = log.mined()
    assert found.worked == ()
    assert [(task.kind, task.request, task.calls) for task in found.tasks] == [("failed", ASKED, ())]


def test_nor_is_one_that_was_called_good(log: Log) -> None:
    log.log.feedback(log.add(theirs(ASKED, CALL)), "good")
    assert log.mined().worked == ()


def test_the_owner_may_switch_it_on(log: Log) -> None:
    log.add(theirs(ASKED, CALL))
    (trace,) = log.mined(learn_from_upstream=True).worked
    assert (trace.kind, trace.provenance.model) == (TraceKind.LOGGED, UPSTREAM)


def test_what_it_repaired_is_no_lesson(log: Log) -> None:
    log.add(ours(ASKED, FAILED))
    log.add(theirs("what do 1 and 2 add up to, please", CALL))
    assert log.mined().worked == ()
    assert {trace.kind for trace in log.mined(learn_from_upstream=True).worked} >= {TraceKind.REPAIRED}


def test_its_own_recovery_is_no_lesson(log: Log) -> None:
    log.add(theirs(ASKED, FAILED, CALL))
    assert log.mined().worked == ()


def test_what_we_repaired_is_a_lesson_without_its_calls(log: Log) -> None:
    log.add(theirs(ASKED, ("sub", {"a": 1}, ToolErrorKind.TOOL_FAILED)))
    log.add(ours("what do 1 and 2 add up to, please", CALL))
    traces = log.mined().worked
    repaired = next(trace for trace in traces if trace.kind == TraceKind.REPAIRED)
    assert repaired.provenance.model == OURS
    assert "sub" not in said_of(traces)
    assert "UPSTREAM" not in said_of(traces)


def test_a_turn_of_theirs_that_went_well_is_repaired_by_nothing(log: Log) -> None:
    log.add(theirs("what do 1 and 2 add up to", CALL))
    log.add(ours("what do 5 and 2 add up to", ("add", {"a": 5, "b": 2}, 7)))
    assert [(trace.kind, trace.request) for trace in log.mined().worked] == [
        (TraceKind.LOGGED, "what do 5 and 2 add up to")
    ]


def test_a_later_turn_of_ours_carries_nothing_of_theirs(log: Log) -> None:
    first = theirs("which city is rainy", ("weather", {"city": "Oslo"}, "rain"), answer="UPSTREAM: Oslo")
    log.add(first)
    log.add(ours(ASKED, CALL, history=first.messages))
    assert log.mined().worked == ()  # it may need what was said before
    kept = log.mined(learn_from_upstream=True).worked
    assert any("UPSTREAM" in said_of([trace]) for trace in kept)


def test_a_turn_that_we_ended_and_they_began_is_theirs(log: Log) -> None:
    begun = turn(ASKED, CALL, answer="", adapter=UPSTREAM)
    part = begun.model_copy(update={"messages": begun.messages[:2]})
    first = log.add(part)
    log.add(ours(ASKED, CALL), continues=first)
    assert log.mined().worked == ()
    assert len(log.mined(learn_from_upstream=True).worked) == 1


def test_also_where_the_log_does_not_know_that_it_is_one_turn(log: Log) -> None:
    """The gateway was restarted between the call and its result."""
    begun = turn(ASKED, CALL, answer="", adapter=UPSTREAM)
    log.add(begun.model_copy(update={"messages": begun.messages[:2]}))
    log.add(ours(ASKED, CALL))
    assert log.mined().worked == ()


def test_a_turn_of_three_parts_is_theirs_if_the_first_is(log: Log) -> None:
    whole = ours(ASKED, CALL, ("add", {"a": 3, "b": 4}, 7))
    first = log.add(whole.model_copy(update={"messages": whole.messages[:2], "adapter": UPSTREAM}))
    second = log.add(whole.model_copy(update={"messages": whole.messages[:4]}), continues=first)
    log.add(whole, continues=second)
    assert log.mined().worked == ()


def test_calls_that_a_person_expected_are_theirs_to_teach(log: Log) -> None:
    identity = log.add(theirs(ASKED, ("sub", {"a": 1, "b": 2}, -1)))
    log.log.feedback(identity, "bad", expected='[{"name": "add", "arguments": {"a": 1, "b": 2}}]')
    (trace,) = log.mined().worked
    assert trace.kind == TraceKind.CORRECTED
    assert [call.name for call in trace.calls] == ["add"]
    assert "UPSTREAM" not in said_of([trace])
    assert "sub" not in said_of([trace])


def test_an_answer_that_a_person_expected_brings_no_call_of_theirs(log: Log) -> None:
    log.log.feedback(log.add(theirs(ASKED, CALL)), "bad", expected="Three.")
    assert log.mined().worked == ()
    (trace,) = log.mined(learn_from_upstream=True).worked
    assert (trace.kind, trace.provenance.model) == (TraceKind.CORRECTED, UPSTREAM)  # by which it is found again


def test_an_answer_without_calls_that_a_person_expected_is_a_lesson(log: Log) -> None:
    log.log.feedback(log.add(theirs("who are you", answer="UPSTREAM!")), "bad", expected="I am apprentice.")
    (trace,) = log.mined().worked
    assert trace.answer == "I am apprentice."
    assert "UPSTREAM" not in said_of([trace])


def test_of_the_same_request_our_turn_is_the_lesson(log: Log) -> None:
    log.add(theirs(ASKED, CALL), session="one")
    log.add(ours(ASKED, CALL), session="two")
    (trace,) = log.mined().worked
    assert trace.provenance.model == OURS


def test_no_mixture_of_turns_puts_a_word_of_theirs_into_a_lesson(log: Log) -> None:
    """All orders of six turns: what worked, failed and was only said, by both."""
    kinds = [
        lambda who, n: who(f"add {n} and 2 for me", ("add", {"a": n, "b": 2}, n + 2)),
        lambda who, n: who(f"add {n} and 2 for me", ("add", {"a": n}, ToolErrorKind.TOOL_FAILED)),
        lambda who, n: who(f"tell me about {n} and 2"),
    ]

    def they(request: str, *calls: Any) -> Trajectory:
        marked = [(name, {**arguments, "mark": "UPSTREAM"}, result) for name, arguments, result in calls]
        return theirs(request, *marked)

    history: list[Message] = []
    for number in range(36):
        who = they if (number // 3 + number) % 2 else ours
        one = kinds[(number * 7 + number // 6) % 3](who, number % 4)
        log.add(one.model_copy(update={"history": tuple(history)}) if number % 5 else one, session=f"s{number // 9}")
        history = [*one.messages] if number % 9 < 8 else []
    assert "UPSTREAM" in said_of(log.mined(learn_from_upstream=True).worked)
    found = log.mined()
    assert found.worked
    assert "UPSTREAM" not in said_of(found.worked)
    assert "UPSTREAM" not in json.dumps([task.model_dump(mode="json") for task in found.tasks])
