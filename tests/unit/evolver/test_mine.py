"""What people asked, and which logged turns can serve as lessons."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.messages import Interaction, Message
from evolver.config import MineConfig
from evolver.mine import mine
from evolver.text import normalised
from evolver.types import Call
from tests.fakes.evolution import interaction, turn
from toolkit.tool import ToolCall, ToolErrorKind

CONFIG = MineConfig(per_session=1000)
ADDED = ("add", {"a": 1, "b": 2}, 3)


def test_nothing_new() -> None:
    mined = mine(CONFIG, [])
    assert (mined.interactions, mined.last_interaction_id, mined.tasks, mined.worked) == (0, "", (), ())


@pytest.mark.parametrize(
    ("logged", "outcome", "worked"),
    [
        (turn("add 1 and 2", ADDED), "called", True),
        (turn("hello there"), "answered", False),
        (turn("add", ("add", {}, ToolErrorKind.INVALID_ARGUMENTS)), "failed", False),
        (turn("add", ADDED, ("add", {}, ToolErrorKind.TIMEOUT)), "failed", False),
        (turn("add", ADDED, stop_reason="step_limit"), "failed", False),
        (turn("hello", stop_reason="failed", answer=""), "failed", False),
        (turn("and now 1 and 2", ADDED, history=[Message(role="user", content="add")]), "called", False),
    ],
)
def test_what_came_of_a_turn(logged: object, outcome: str, worked: bool) -> None:
    mined = mine(CONFIG, [interaction(logged)])  # type: ignore[arg-type]
    assert [task.outcome for task in mined.tasks] == [outcome]
    assert bool(mined.worked) is worked


def test_a_turn_that_worked_is_a_trace_as_it_is() -> None:
    (found,) = mine(CONFIG, [interaction(turn(" add 1 and 2 ", ADDED, answer="3"), 7)]).worked
    assert (found.maker, found.request, found.answer, found.origin) == (
        "log",
        "add 1 and 2",
        "3",
        interaction(turn(""), 7).id,
    )
    assert (found.calls, found.results) == ((Call(name="add", arguments={"a": 1, "b": 2}),), (3,))


def test_calls_whose_results_nobody_saw_are_no_lesson() -> None:
    """An outside client runs its own tools: the log has its calls, and perhaps never what they gave."""
    call = ToolCall(id="c", name="add", arguments={"a": 1, "b": 2})
    logged = turn("add 1 and 2", answer="")
    logged = logged.model_copy(update={"messages": (*logged.messages, Message(role="assistant", tool_calls=(call,)))})
    mined = mine(CONFIG, [interaction(logged)])
    assert [task.request for task in mined.tasks] == ["add 1 and 2"]
    assert mined.worked == ()


def test_what_somebody_called_bad_is_left_out_and_good_stays() -> None:
    mined = mine(
        CONFIG,
        [interaction(turn("add 1 and 2", ADDED), 1, verdict="bad"), interaction(turn("hi you"), 2, verdict="good")],
    )
    assert [task.request for task in mined.tasks] == ["hi you"]
    assert mined.worked == ()


REQUESTS = st.sampled_from(["add 1 and 2", "Add 1 and 2!", "hello", "HELLO.", "what is new", "", "?!"])
LOG = st.lists(st.tuples(REQUESTS, st.sampled_from(["one", "two"]), st.sampled_from(["", "bad"])), max_size=20)


def interactions(log: list[tuple[str, str, str]]) -> list[Interaction]:
    return [interaction(turn(text), n, session=who, verdict=said) for n, (text, who, said) in enumerate(log, 1)]


@settings(max_examples=60, deadline=None)
@given(LOG, st.integers(0, 3))
def test_each_request_once_in_the_order_of_the_log_few_from_each_session(
    log: list[tuple[str, str, str]], most: int
) -> None:
    logged = interactions(log)
    mined = mine(MineConfig(per_session=most), logged)
    ids = [task.interaction_id for task in mined.tasks]
    assert ids == sorted(ids)
    forms = [normalised(task.request) for task in mined.tasks]
    assert len(set(forms)) == len(forms)
    assert "" not in forms
    assert all(sum(task.session == who for task in mined.tasks) <= most for who in ("one", "two"))
    assert mined.interactions == len(logged)
    assert mined.last_interaction_id == (logged[-1].id if logged else "")


@settings(max_examples=60, deadline=None)
@given(LOG)
def test_no_request_is_lost_while_sessions_have_room(log: list[tuple[str, str, str]]) -> None:
    good = {normalised(text) for text, _, verdict in log if not verdict}
    assert {normalised(task.request) for task in mine(CONFIG, interactions(log)).tasks} == good - {""}
