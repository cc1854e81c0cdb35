"""Turns that go on: with whose adapter, and after which interaction."""

from typing import Any

import pytest

from agent.serving.gateway.turn_affinity import OpenTurns, Owner, TurnAffinity, turn_key

HI = [{"role": "user", "content": "hi"}]


def turn(call_id: str, words: list[dict[str, Any]] = HI) -> list[dict[str, Any]]:
    call = {"id": call_id, "type": "function", "function": {"name": "add", "arguments": "{}"}}
    return [
        *words,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call_id, "content": "3"},
    ]


def adapter(turns: TurnAffinity, messages: list[dict[str, Any]], owner: str = "", tenant: str = "") -> str | None:
    return turns.adapter(messages, Owner(tenant, owner), lambda: turn_key(owner, messages))


def noted(call_id: str, words: list[dict[str, Any]], name: str, turns: TurnAffinity | None = None) -> TurnAffinity:
    turns = turns or TurnAffinity()
    turns.note(b'{"tool_calls": [{"id": "%s"}]}' % call_id.encode(), name, Owner(), lambda: turn_key("", words))
    return turns


def test_a_turn_is_known_by_the_id_of_its_call() -> None:
    turns = noted("a", HI, "adapter-0001")
    assert adapter(turns, turn("a")) == "adapter-0001"
    assert adapter(turns, turn("a", [{"role": "system", "content": "It is noon."}, *HI])) == "adapter-0001"


def test_a_turn_whose_ids_were_renamed_is_known_by_how_it_began() -> None:
    turns = noted("a", HI, "adapter-0001")
    assert adapter(turns, turn("call_0")) == "adapter-0001"
    assert adapter(turns, turn("call_0"), owner="other") is None
    assert adapter(turns, turn("call_0", [{"role": "user", "content": "bye"}])) is None


def test_an_id_that_two_turns_have_says_nothing() -> None:
    bye = [{"role": "user", "content": "bye"}]
    turns = noted("call_0", bye, "adapter-0002", noted("call_0", HI, "adapter-0001"))
    assert adapter(turns, turn("call_0")) == "adapter-0001"
    assert adapter(turns, turn("call_0", bye)) == "adapter-0002"
    assert adapter(turns, turn("call_0", [{"role": "user", "content": "what?"}])) is None


@pytest.mark.parametrize("whose", [{"owner": "other"}, {"tenant": "other"}])
def test_nobody_goes_on_with_anothers_turn_by_its_ids(whose: dict[str, str]) -> None:
    turns = noted("call_0", HI, "adapter-0001")
    assert adapter(turns, turn("call_0"), **whose) is None
    turns.note(b'{"tool_calls": [{"id": "call_0"}]}', "adapter-0002", Owner("other", "other"), lambda: "bye")
    assert adapter(turns, turn("call_0", [{"role": "user", "content": "more"}])) == "adapter-0001"


def test_the_same_request_again_is_a_new_turn() -> None:
    assert adapter(noted("a", HI, "adapter-0001"), HI) is None


def test_results_without_a_word_of_the_user_are_of_no_turn() -> None:
    assert turn_key("", turn("a", [])) == ""
    assert adapter(noted("a", [], "adapter-0001"), turn("b", [])) is None


def test_a_piece_without_calls_costs_no_key() -> None:
    TurnAffinity().note(b'{"content": "hi"}', "adapter-0001", Owner(), lambda: pytest.fail("asked for the turn"))


def test_the_oldest_are_forgotten() -> None:
    turns: OpenTurns[int] = OpenTurns(capacity=2)
    for n in range(4):
        turns.remember(Owner(), [f"call-{n}"], f"turn-{n}", n)
    assert [turns.find(Owner(), [f"call-{n}"], lambda n=n: f"turn-{n}") for n in range(4)] == [None, None, 2, 3]
