"""What a turn of a client with its own tools teaches, and what speaks for its calls."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.log.interaction_log import InteractionLog
from evolver.config import MineConfig
from evolver.lessons.checks import grounding
from evolver.lessons.client_tools import OwnTools
from evolver.mining.mine import mine
from evolver.mining.turns import LoggedTurns
from evolver.types import Mined, Task, Trace
from tests.fakes.client_traffic import REFUND, TEXT, TOOLS, WEATHER, asked, log_turn, said, tool
from toolkit.tool import Tool

BERN = ("get_weather", {"city": "Bern"}, "cloudy, 14 degrees")
TELLS = "It is cloudy in Bern, 14 degrees."
SYSTEM = "You help the people of a shop."


@pytest.fixture
def log(tmp_path: Path) -> Iterator[InteractionLog]:
    with InteractionLog(tmp_path / "interactions.db", now=lambda: 1000.0) as opened:
        yield opened


def mined(log: InteractionLog, own: OwnTools | None = None, **config: Any) -> Mined:
    return mine(MineConfig(**config), LoggedTurns.since(log, ""), own=own)


def lesson(log: InteractionLog, **config: Any) -> Trace:
    (found,) = mined(log, **config).worked
    return found


def test_a_turn_is_learned_as_it_was_served(log: InteractionLog) -> None:
    turn = asked("Weather in Bern?", BERN, history=said(system=SYSTEM), answer=TELLS)
    identity = log_turn(log, turn, owner="shop", tenant="acme")
    found = lesson(log)
    assert found.client_turn is not None
    assert found.client_turn.messages == turn.messages
    assert [message.content for message in found.history] == [SYSTEM]
    assert [tool["function"]["name"] for tool in found.client_turn.tools] == ["get_weather", "refund_order"]
    assert found.client_turn.tools == log.read()[0].tool_schemas
    assert (found.client_turn.targets, found.answer) == ((1, 3), TELLS)
    assert [call.arguments for call in found.calls] == [{"city": "Bern"}]
    assert (found.provenance.interaction_id, found.provenance.not_executed) == (identity, True)


def test_the_own_tools_of_this_machine_are_learned_as_ever(log: InteractionLog) -> None:
    own = OwnTools(
        [
            Tool(name=one["function"]["name"], description="other words", parameters=one["function"]["parameters"])
            for one in TOOLS
        ]
    )
    log_turn(log, asked("Weather in Bern?", BERN, answer=TELLS))
    (found,) = mined(log, own).worked
    assert (found.client_turn, found.provenance.not_executed) == (None, False)


def test_a_tool_with_the_name_of_an_own_one_and_another_schema_is_the_clients(log: InteractionLog) -> None:
    own = OwnTools([Tool(name=name, description="", parameters={"type": "object"}) for name in ("get_weather",)])
    log_turn(log, asked("Weather in Bern?", BERN, answer=TELLS), tools=[WEATHER])
    assert mined(log, own).worked[0].client_turn is not None


@pytest.mark.parametrize(
    ("answer", "signs"),
    [(TELLS, ("result told",)), ("Here you are.", ()), ("Bern it is.", ()), ("14, and so on.", ("result told",))],
)
def test_an_answer_that_tells_the_result_is_a_sign(log: InteractionLog, answer: str, signs: tuple[str, ...]) -> None:
    log_turn(log, asked("Weather in Bern?", BERN, answer=answer))
    found = lesson(log).client_turn
    assert found is not None
    assert found.signs == signs
    assert (3 in found.targets) is bool(signs)


def test_a_good_word_and_a_conversation_that_went_on_are_signs(log: InteractionLog) -> None:
    first = asked("Weather in Bern?", BERN, answer="Done.")
    log.feedback(log_turn(log, first), "good")
    later = asked("Thank you, refund A-1 of 3", history=said(("Weather in Bern?", "Done.")), answer="All right.")
    log_turn(log, later)
    found = lesson(log).client_turn
    assert found is not None
    assert found.signs == ("called good", "went on")


@pytest.mark.parametrize("next_request", ["No, I meant Thun", "wrong", "That's not what I asked", "undo that"])
def test_a_request_that_objects_is_a_doubt(log: InteractionLog, next_request: str) -> None:
    log_turn(log, asked("Weather in Bern?", BERN, answer=TELLS))
    log_turn(log, asked(next_request, history=said(("Weather in Bern?", TELLS)), answer="Sorry."))
    found = lesson(log).client_turn
    assert found is not None
    assert (found.doubt, found.signs) == ("objected_to", ("result told",))


def test_another_conversation_of_the_session_says_nothing_of_it(log: InteractionLog) -> None:
    log_turn(log, asked("Weather in Bern?", BERN, answer="Done."))
    log_turn(log, asked("No, thanks", answer="All right."))
    found = lesson(log).client_turn
    assert found is not None
    assert (found.doubt, found.signs) == ("", ())


def test_what_was_asked_again_or_called_bad_is_no_lesson(log: InteractionLog) -> None:
    log_turn(log, asked("Weather in Bern?", BERN, answer=TELLS))
    log_turn(log, asked("Weather in Bern please?", history=said(("Weather in Bern?", TELLS)), answer="Hm."))
    log.feedback(log_turn(log, asked("Weather in Thun?", BERN, answer=TELLS), session="t"), "bad")
    assert mined(log).worked == ()


def test_equal_calls_of_two_conversations_agree_and_others_are_a_doubt(log: InteractionLog) -> None:
    for session, city in (("a", "Bern"), ("b", "Bern"), ("c", "Thun")):
        call = ("get_weather", {"city": city}, "fine")
        log_turn(log, asked("How is the weather in town?", call, answer="Done."), session=session, owner="shop")
    found = lesson(log).client_turn
    assert found is not None
    assert (found.signs, found.doubt) == (("agreed",), "")
    log_turn(
        log,
        asked("How is the weather in town?", ("get_weather", {"city": "Thun"}, "fine"), answer="Done."),
        session="d",
        owner="shop",
    )
    found = lesson(log).client_turn
    assert found is not None
    assert (found.signs, found.doubt) == ((), "turns_disagree")


def test_other_keys_and_other_tools_do_not_agree(log: InteractionLog) -> None:
    turn = asked("Weather in Bern?", BERN, answer="Done.")
    log_turn(log, turn, owner="a", session="1")
    log_turn(log, turn, owner="b", session="2")
    log_turn(log, turn, owner="a", session="3", tools=[WEATHER])
    found = [one.client_turn.signs for one in mined(log).worked if one.client_turn is not None]
    assert found == [(), (), ()]


def test_a_call_that_failed_and_one_that_found_nothing_are_not_learned(log: InteractionLog) -> None:
    nothing, denied = ("get_weather", {"city": "Brn"}, "[]"), ("get_weather", {"city": "B"}, '{"ok": false}')
    log_turn(log, asked("Weather in Bern?", nothing, denied, BERN, answer=TELLS))
    found = lesson(log)
    assert found.client_turn is not None
    assert (found.kind, found.client_turn.targets) == ("repaired", (5, 7))
    assert [failure.call.arguments for failure in found.failures] == [{"city": "B"}]
    assert len(found.calls) == 1


def test_the_same_call_twice_is_a_doubt(log: InteractionLog) -> None:
    log_turn(log, asked("Weather in Bern?", BERN, BERN, answer=TELLS))
    found = lesson(log).client_turn
    assert found is not None
    assert found.doubt == "call_repeated"


def test_a_correction_is_learned_with_the_clients_tools(log: InteractionLog) -> None:
    identity = log_turn(log, asked("Weather in Bern?", ("get_weather", {"city": "Bonn"}, "rain"), answer="Rain."))
    log.feedback(identity, "bad", expected='[{"name": "get_weather", "arguments": {"city": "Bern"}}]')
    found = lesson(log)
    assert found.client_turn is not None
    assert (found.kind, found.client_turn.targets, len(found.client_turn.messages)) == ("corrected", (1,), 2)
    assert found.calls[0].arguments == {"city": "Bern"}


def test_a_failed_turn_gets_the_calls_of_a_later_one(log: InteractionLog) -> None:
    failed = ("get_weather", {"city": "B"}, "Error: no such city")
    log_turn(log, asked("Weather in Bern now?", failed, history=said(system=SYSTEM), answer="Sorry."))
    again = said(("Weather in Bern now?", "Sorry."), system=SYSTEM)
    log_turn(log, asked("Weather now in Bern, please?", BERN, history=again, answer=TELLS))
    worked, repaired = mined(log).worked
    assert repaired.client_turn is not None
    assert (repaired.request, repaired.client_turn.signs) == ("Weather in Bern now?", ("result told",))
    assert [call.arguments for call in repaired.calls] == [{"city": "Bern"}]
    assert repaired.provenance.other_interaction_ids[0] == worked.provenance.interaction_id


def test_an_answer_without_a_call_is_learned_when_somebody_called_it_good(log: InteractionLog) -> None:
    log_turn(log, asked("Who are you?", answer="An assistant."), session="a")
    log.feedback(log_turn(log, asked("Good evening!", answer="Good evening!"), session="b"), "good")
    found = lesson(log)
    assert (found.calls, found.request, found.answer) == ((), "Good evening!", "Good evening!")


def test_a_history_that_is_not_in_the_log_makes_no_lesson(log: InteractionLog) -> None:
    log_turn(log, asked("Weather in Bern?", BERN, history=said(("Hello?", "Hi.")), answer=TELLS))
    assert mined(log).worked == ()
    log_turn(log, asked("Hello?", answer="Hi."), session="new")
    log_turn(log, asked("Weather in Bern?", BERN, history=said(("Hello?", "Hi.")), answer=TELLS), session="new")
    found = lesson(log)
    assert [message.content for message in found.history] == ["Hello?", "Hi."]
    assert found.provenance.other_interaction_ids == (mined(log).tasks[1].interaction_id,)


def test_what_a_client_asked_its_own_tools_is_marked(log: InteractionLog) -> None:
    log_turn(log, asked("Weather in Bern?", answer="I cannot say."))
    log.append(asked("Weather in Thun?", answer="No."), session="s", source="chat")
    assert [(task.request, task.client) for task in mined(log).tasks] == [
        ("Weather in Bern?", True),
        ("Weather in Thun?", False),
    ]


@pytest.mark.parametrize("named", ["shop", "acme/shop", "gateway"])
def test_a_key_or_source_in_quarantine_teaches_nothing(log: InteractionLog, named: str) -> None:
    log_turn(log, asked("Weather in Bern?", BERN, answer=TELLS), owner="shop", tenant="acme")
    log_turn(log, asked("Weather in Thun?", BERN, answer=TELLS), owner="other", source="import")
    found = mined(log, quarantine=[named])
    assert [task.owner for task in found.tasks] == ["other"]
    assert found.quarantined == {"gateway acme/shop": 1}


@pytest.mark.parametrize(("failed", "tasks"), [(10, 20), (11, 0)])
def test_a_client_whose_calls_are_mostly_trouble_is_quarantined(log: InteractionLog, failed: int, tasks: int) -> None:
    for number in range(20):
        result = "Error: down" if number < failed else "cloudy, 14 degrees"
        call = ("get_weather", {"city": f"town {number}"}, result)
        log_turn(log, asked(f"Weather in town {number}?", call, answer="It is."), session=str(number), owner="shop")
    found: list[Task] = list(mined(log).tasks)
    assert len(found) == tasks


CORRECTION = '[{"name": "get_weather", "arguments": {"city": "Bern"}}]'


def log_failures(log: InteractionLog, count: int) -> None:
    for number in range(count):
        call = ("get_weather", {"city": f"town {number}"}, "Error: down")
        log_turn(log, asked(f"Weather in town {number}?", call, answer="Sorry."), session=str(number), owner="shop")


def log_corrected(log: InteractionLog) -> str:
    """Log a turn with a wrong call that a person corrected, as the newest."""
    wrong = asked("Weather in Bern?", ("get_weather", {"city": "Bonn"}, "rain"), answer="Rain.")
    identity = log_turn(log, wrong, session="corrected", owner="shop")
    log.feedback(identity, "bad", expected=CORRECTION)
    return identity


def test_a_correction_is_learned_of_a_client_whose_calls_are_mostly_trouble(log: InteractionLog) -> None:
    log_failures(log, 25)
    identity = log_corrected(log)
    found = mined(log)
    assert [(one.kind, one.provenance.interaction_id) for one in found.worked] == [("corrected", identity)]
    assert [task.interaction_id for task in found.tasks] == [identity]
    assert found.quarantined == {"gateway shop": 25}


def test_a_quarantine_by_name_holds_for_corrections_too(log: InteractionLog) -> None:
    log_corrected(log)
    found = mined(log, quarantine=["shop"])
    assert (found.tasks, found.worked, found.quarantined) == ((), (), {"gateway shop": 1})


@pytest.mark.parametrize("limit", ["per_user", "per_source"])
def test_corrections_have_room_before_all_other_turns(log: InteractionLog, limit: str) -> None:
    log_failures(log, 5)
    identity = log_corrected(log)
    found = mined(log, **{limit: 2})
    assert [task.kind for task in found.tasks] == ["failed", "corrected"]
    assert [one.provenance.interaction_id for one in found.worked] == [identity]
    assert found.over_quota == 4
    assert mined(log, **{limit: 0}).over_quota == 6


def test_a_turn_that_was_mined_before_has_room_once_it_is_corrected(log: InteractionLog) -> None:
    identity = log_corrected(log)
    log_failures(log, 25)
    found = mine(MineConfig(per_user=1), LoggedTurns.since(log, identity))
    assert [(one.kind, one.provenance.interaction_id) for one in found.worked] == [("corrected", identity)]
    assert found.tasks == ()


@pytest.mark.parametrize("count", [1, 2])
def test_of_two_corrections_of_one_request_one_is_learned(log: InteractionLog, count: int) -> None:
    first, _ = log_corrected(log), log_corrected(log)
    found = mined(log, per_user=count)
    assert [task.interaction_id for task in found.tasks] == [first]
    assert found.over_quota == 0


@pytest.mark.parametrize(("failed", "tasks"), [(10, 25), (13, 0)])
def test_turns_of_another_model_are_trouble_only_where_they_went_badly(
    log: InteractionLog, failed: int, tasks: int
) -> None:
    for number in range(25):
        call = ("get_weather", {"city": f"town {number}"}, "Error: down" if number < failed else "cloudy, 14 degrees")
        turn = asked(f"Weather in town {number}?", call, answer="It is.")
        theirs = turn.model_copy(update={"adapter": "upstream:gpt"})
        log_turn(log, theirs, session=str(number), owner="shop", source="import")
    found = mined(log)
    assert (len(found.tasks), bool(found.quarantined), found.worked) == (tasks, not tasks, ())


def test_tools_that_nobody_called_make_no_difference(log: InteractionLog) -> None:
    log_turn(log, asked("Weather in Bern?", BERN, answer=TELLS), tools=[REFUND, WEATHER])
    found = lesson(log)
    assert found.client_turn is not None
    assert [tool["function"]["name"] for tool in found.client_turn.tools] == ["refund_order", "get_weather"]


def final(text: str) -> list[tuple[str, dict[str, str], None]]:
    return [("final_answer", {"answer": text}, None)]


@pytest.mark.parametrize("answer", [TELLS, "Done."])
def test_a_turn_that_ends_with_a_call_for_its_answer_is_learned_with_that_call(
    log: InteractionLog, answer: str
) -> None:
    tools = [WEATHER, tool("final_answer", answer=TEXT)]
    log_turn(log, asked("Weather in Bern?", BERN, final(answer)), tools=tools, session="1")
    log_turn(
        log, asked("Weather in Thun?", ("get_weather", {"city": "Thun"}, "9 degrees"), final("9 degrees")), tools=tools
    )
    found = {one.request: one for one in mined(log).worked}["Weather in Bern?"]
    assert found.client_turn is not None
    assert [call.name for call in found.calls] == ["get_weather"]
    assert found.client_turn.signs == (("result told",) if answer == TELLS else ())
    assert found.client_turn.targets == ((1, 3) if answer == TELLS else (1,))
    ends = [call.name for message in found.client_turn.messages[2:] for call in message.tool_calls]
    assert ends == (["final_answer"] if answer == TELLS else [])
    assert grounding(found) is None


def test_a_turn_of_such_a_client_without_another_call_is_talk(log: InteractionLog) -> None:
    tools = [WEATHER, tool("final_answer", answer=TEXT)]
    log_turn(log, asked("Good morning!", final("Good morning to you!")), tools=tools)
    assert [task.kind for task in mined(log).tasks] == ["talk"]
