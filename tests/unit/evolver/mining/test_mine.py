"""What people asked, and which logged turns can serve as lessons."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.text.matching import normalised
from agent.turn.messages import Interaction, Message, Trajectory
from evolver.config import MineConfig
from evolver.types import Call, SampledCalls
from tests.fakes.evolution import interaction, turn
from tests.fakes.evolution import mined as mine
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
    assert (found.kind, found.request, found.answer, found.provenance.interaction_id) == (
        "logged",
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


def kinds(*logged: Interaction) -> list[str]:
    return [task.kind for task in mine(CONFIG, logged).tasks]


BROKEN = ("add", {"a": 1}, ToolErrorKind.INVALID_ARGUMENTS)


def test_a_failed_turn_gets_the_call_that_worked_later() -> None:
    failed = interaction(turn("add 1 and 2 for me", BROKEN, answer="I could not."), 1)
    worked = interaction(turn("please add 1 and 2 for me", ADDED, history=failed.trajectory.messages), 2)
    mined = mine(CONFIG, [failed, worked])
    assert [task.kind for task in mined.tasks] == ["repaired", "worked"]
    later, found = mined.worked
    assert (later.kind, later.provenance.other_interaction_ids, later.provenance.calls_interaction_id) == (
        "logged",
        (failed.id,),
        worked.id,
    )
    assert (found.kind, found.request, found.provenance.interaction_id) == ("repaired", "add 1 and 2 for me", failed.id)
    assert (found.provenance.other_interaction_ids, found.provenance.calls_interaction_id) == ((worked.id,), worked.id)
    assert found.calls == (Call(name="add", arguments={"a": 1, "b": 2}),)


def test_a_repair_is_in_the_same_session_soon_and_about_the_same() -> None:
    failed = interaction(turn("add 1 and 2 for me", BROKEN), 1)
    alike = turn("please add 1 and 2 for me", ADDED)
    assert mine(CONFIG, [failed, interaction(alike, 2, session="other")]).worked[0].kind == "logged"
    talk = [interaction(turn(f"well {n}"), n) for n in range(2, 5)]
    assert kinds(failed, *talk, interaction(alike, 9))[0] == "failed"
    assert kinds(failed, interaction(turn("what is in the fridge", ADDED), 2))[0] == "failed"


def test_a_turn_that_repaired_itself() -> None:
    mined = mine(CONFIG, [interaction(turn("add 1 and 2", BROKEN, ADDED))])
    (found,) = mined.worked
    assert ([task.kind for task in mined.tasks], found.kind, found.provenance.other_interaction_ids) == (
        ["repaired"],
        "repaired",
        (),
    )
    assert found.calls == (Call(name="add", arguments={"a": 1, "b": 2}),)


def test_a_request_put_again_did_not_work_unless_somebody_says_so() -> None:
    again = interaction(turn("add 1 and 2 now", ADDED), 2)
    assert kinds(interaction(turn("add 1 and 2", ADDED), 1), again)[0] == "repaired"
    assert kinds(interaction(turn("add 1 and 2", ADDED), 1, verdict="good"), again)[0] == "worked"


def test_the_same_tool_with_other_values_is_not_asked_again() -> None:
    log = [
        interaction(turn(f"What is the tip on a bill of {bill} dollars at 15 percent?", ("tip", {"bill": bill}, 1)), n)
        for n, bill in enumerate((50, 80, 80), 1)
    ]
    mined = mine(CONFIG, log)
    assert [(found.kind, found.calls[0].arguments["bill"]) for found in mined.worked] == [
        ("logged", 50),
        ("logged", 80),
    ]


def test_the_same_question_next_day_is_not_asked_again() -> None:
    first, second = (interaction(turn("what time is it?", ("now", {}, 1)), n) for n in (1, 2))
    assert kinds(first, second) == ["worked"]
    mined = mine(CONFIG, [first, second.model_copy(update={"created_at": 86_400.0})])
    assert [found.provenance.interaction_id for found in mined.worked] == [first.id]
    assert [found.provenance.interaction_id for found in mine(CONFIG, [first, second]).worked] == [second.id]


@pytest.mark.parametrize("change", [{"owner": "ben"}, {"tenant": "other"}])
def test_sessions_of_one_name_are_not_one(change: dict[str, str]) -> None:
    failed = interaction(turn("add 1 and 2 for me", BROKEN), 1)
    worked = interaction(turn("please add 1 and 2 for me", ADDED), 2).model_copy(update=change)
    assert kinds(failed, worked) == ["failed", "worked"]
    assert mine(MineConfig(per_session=1), [failed, worked]).over_quota == 0


def test_of_those_who_asked_the_same_one_for_whom_it_worked_teaches() -> None:
    failed = interaction(turn("add 1 and 2", BROKEN), 1, session="ann")
    worked = interaction(turn("Add 1 and 2!", ADDED, adapter="adapter-0001"), 2, session="ben")
    mined = mine(CONFIG, [failed, worked])
    assert [(task.interaction_id, task.kind) for task in mined.tasks] == [(worked.id, "worked")]
    assert [found.provenance.interaction_id for found in mined.worked] == [worked.id]
    full = mine(MineConfig(per_source=1), [interaction(turn("hello"), 0, session="ben"), failed, worked])
    assert (len(full.tasks), full.worked) == (1, ())


def test_what_was_repaired_counts_like_all_that_comes_from_one_place() -> None:
    log = [interaction(turn(f"add 1 and {n}", BROKEN, ADDED), n, session="s") for n in range(1, 9)]
    mined = mine(MineConfig(per_session=3), log)
    assert (len(mined.tasks), len(mined.worked)) == (3, 3)
    new = [
        interaction(turn(f"please add 1 and {n}", ADDED, adapter="adapter-0001"), 100 + n, session=f"s{n}")
        for n in range(4)
    ]
    before = [interaction(turn(f"add 1 and {n}", BROKEN), n, session=f"s{n}") for n in range(4)]
    mined = mine(MineConfig(per_source=6), new, context=before)
    assert [found.kind for found in mined.worked] == ["logged"] * 4 + ["repaired"] * 2
    assert {found.provenance.model for found in mined.worked} == {"adapter-0001"}, "who made the call that worked"


def talk(*turns: Trajectory, session: str = "s", begin: int = 1) -> list[Interaction]:
    """A conversation: each turn with those before it as its history."""
    found, said = [], tuple[Message, ...]()
    for number, one in enumerate(turns, begin):
        found.append(interaction(one.model_copy(update={"history": said}), number, session=session))
        said += one.messages
    return found


def test_a_turn_of_a_conversation_carries_what_was_said_before() -> None:
    doubled = turn("now double it", ("double", {"n": 3}, 6))
    first, second = talk(turn("add 1 and 2", ADDED, answer="It is 3."), doubled)
    one, two = mine(CONFIG, [first, second]).worked
    assert (one.history, one.spoken, one.provenance.other_interaction_ids) == ((), ("add 1 and 2",), ())
    assert (two.history, two.spoken) == (first.trajectory.messages, ("add 1 and 2", "now double it"))
    assert (
        two.provenance.interaction_id,
        two.provenance.calls_interaction_id,
        two.provenance.other_interaction_ids,
    ) == (second.id, second.id, (first.id,))
    assert [found.history for found in mine(CONFIG, [second], context=[first]).worked] == [two.history]
    assert mine(CONFIG, [second]).worked == (), "nobody could delete what is not in sight"
    other = talk(turn("add 2 and 2", ("add", {"a": 2, "b": 2}, 4)), doubled, session="t", begin=3)
    assert [found.spoken[-1] for found in mine(CONFIG, [first, second, *other]).worked].count("now double it") == 2


def test_of_a_long_conversation_the_last_whole_turns_are_carried() -> None:
    said = [turn(f"request {n}", answer=f"{n} " + "word " * 60) for n in range(9)]
    (found,) = mine(CONFIG, talk(*said, turn("add 1 and 2", ADDED))).worked
    assert [message.role for message in found.history] == ["user", "assistant"] * 3
    assert found.spoken == ("request 6", "request 7", "request 8", "add 1 and 2")
    assert len(found.provenance.other_interaction_ids) == 3
    endless = turn("tell me everything", answer="word " * 400)
    assert mine(CONFIG, talk(endless, turn("add 1 and 2", ADDED))).worked == ()


def test_what_a_model_cannot_be_shown_again_is_not_carried() -> None:
    broken = turn("q", ("add", {}, ToolErrorKind.MALFORMED_CALL))
    user, call, *rest = broken.messages
    call = call.model_copy(update={"tool_calls": (ToolCall(id="c", name="add", arguments=None, raw="{"),)})
    broken = broken.model_copy(update={"messages": (user, call, *rest)})
    (found,) = mine(CONFIG, talk(broken, turn("hello"), turn("add 1 and 2", ADDED))).worked
    assert found.spoken == ("hello", "add 1 and 2")
    steered = turn("add 1 and 2", ADDED, history=[Message(role="system", content="Always add 1 and 2.")])
    assert mine(CONFIG, [interaction(steered)]).worked == ()


def test_a_turn_that_can_stand_alone_teaches_in_place_of_one_that_cannot() -> None:
    unseen = turn("add 1 and 2", ADDED, history=[Message(role="user", content="something")])
    log = [interaction(unseen, 1, session="a"), interaction(turn("add 1 and 2", ADDED), 2, session="b")]
    assert [found.provenance.interaction_id for found in mine(CONFIG, log).worked] == [log[1].id]


def test_a_new_turn_repairs_one_that_was_mined_before() -> None:
    failed = interaction(turn("add 1 and 2 for me", BROKEN), 1)
    worked = interaction(turn("please add 1 and 2 for me", ADDED), 2)
    mined = mine(CONFIG, [worked], context=[failed])
    assert [task.interaction_id for task in mined.tasks] == [worked.id]
    assert [(found.kind, found.provenance.interaction_id) for found in mined.worked] == [
        ("logged", worked.id),
        ("repaired", failed.id),
    ]
    assert mine(CONFIG, [interaction(turn("good night"), 3)], context=[failed, worked]).worked == ()


def test_what_no_tool_could_serve() -> None:
    declined = turn("book me a flight", answer="I have no tool for that.")
    assert kinds(interaction(declined)) == ["unserved"]
    shown = turn("book a hotel").model_copy(update={"tools": ("add",)})
    assert kinds(interaction(shown, verdict="bad")) == ["unserved"]
    assert kinds(interaction(turn("hello there"))) == ["talk"]


@pytest.mark.parametrize(
    ("shares", "kind"),
    [((), "talk"), ((0.25,), "talk"), ((1.0,), "missed"), ((0.75, 0.25), "missed"), ((0.5, 0.25), "uncertain")],
)
def test_where_the_model_hesitates(shares: tuple[float, ...], kind: str) -> None:
    calls = tuple((Call(name="add", arguments={"a": n}), share) for n, share in enumerate(shares))
    config = MineConfig(uncertainty_sampling=1)
    logged = [interaction(turn("add 1 and 2", ADDED), 1), *(interaction(turn(f"what is {n}"), n) for n in (2, 3))]
    asked: list[str] = []

    def sample_calls(texts: Sequence[str]) -> list[SampledCalls]:
        asked.extend(texts)
        return [SampledCalls(calls=calls) for _ in texts]

    tasks = mine(config, logged, sample_calls=sample_calls).tasks
    assert [task.kind for task in tasks] == ["worked", "talk", kind]
    assert asked == ["what is 3"], "the newest"
    assert len(tasks[2].calls) == (0 if kind == "talk" else len(shares))


def test_each_source_has_its_quota() -> None:
    logged = [interaction(turn(f"request {n}"), n, session=str(n), source=f"from-{n % 2}") for n in range(1, 9)]
    mined = mine(MineConfig(per_source=3), logged)
    assert mined.by_source == {"from-1": 3, "from-0": 3}
    assert (mined.over_quota, mined.by_kind) == (2, {"talk": 6})


@settings(max_examples=60, deadline=None)
@given(LOG)
def test_the_same_log_gives_the_same_tasks(log: list[tuple[str, str, str]]) -> None:
    assert mine(CONFIG, interactions(log)) == mine(CONFIG, interactions(log))


def test_a_turn_that_repaired_itself_keeps_what_it_did_in_vain() -> None:
    wrong = ("add", {"a": 1}, ToolErrorKind.INVALID_ARGUMENTS)
    (found,) = mine(CONFIG, [interaction(turn("add 1 and 2", wrong, ADDED))]).worked
    assert [(f.call.arguments, f.error.kind) for f in found.failures] == [({"a": 1}, ToolErrorKind.INVALID_ARGUMENTS)]
    assert found.calls == (Call(name="add", arguments={"a": 1, "b": 2}),)
    lost = ("add", {"a": 1, "b": 2}, ToolErrorKind.LOST)
    (found,) = mine(CONFIG, [interaction(turn("add 1 and 2", lost, ADDED))]).worked
    assert (found.failures, len(found.calls)) == ((), 1), "a lost worker is nothing to repair"
    log = [interaction(turn("add 1 and 2", wrong), 1), interaction(turn("add 1 and 2 now", ADDED), 2)]
    assert [t.failures for t in mine(CONFIG, log).worked if t.kind == "repaired"] == [()]


def test_calls_one_by_one_are_told_from_calls_at_once() -> None:
    doubled = ("double", {"n": 3}, 6)
    (one_by_one,) = mine(CONFIG, [interaction(turn("add 1 and 2, then double it", ADDED, doubled))]).worked
    assert one_by_one.sequential
    logged = turn("add 1 and 2 and double 3", ADDED, doubled)
    user, first, told, second, told_again, answer = logged.messages
    both = first.model_copy(update={"tool_calls": (*first.tool_calls, *second.tool_calls)})
    at_once = logged.model_copy(update={"messages": (user, both, told, told_again, answer)})
    (found,) = mine(CONFIG, [interaction(at_once)]).worked
    assert (found.sequential, len(found.calls)) == (False, 2)
    assert not mine(CONFIG, [interaction(turn("add 1 and 2", ADDED))]).worked[0].sequential


def test_who_asked_is_known_and_nobody_teaches_too_much() -> None:
    asked = [
        interaction(turn(f"add {n} and 2", ADDED), n, session=str(n), source="gateway").model_copy(
            update={"owner": "mia" if n % 2 else "", "tenant": "shop" if n % 2 else ""}
        )
        for n in range(1, 9)
    ]
    mined = mine(MineConfig(per_user=3), asked)
    assert [(task.owner, task.tenant) for task in mined.tasks].count(("mia", "shop")) == 3
    assert mined.by_user == {"shop/mia": 3}
    assert (mined.over_quota, len(mined.tasks)) == (1, 7)
