"""A request is divided where it begins to speak of another tool."""

import pytest

from agent.turn.choice import JudgedTool, Part, chosen, parts_of

POINTS = {
    "which train goes to Bergen": {"trains": 40.0, "films": 12.0},
    "the one at noon will do": {"trains": 8.0, "films": 6.0},
    "find me the film called Alien": {"trains": 11.0, "films": 45.0},
    "a film or a train": {"trains": 30.0, "films": 33.0},
    "good morning to you": {"trains": 2.0, "films": 3.0},
}
TRAIN, NOON, FILM, EITHER, MORNING = POINTS


def divided(*clauses: str) -> list[tuple[str, str]]:
    places, at = [], 0
    for clause in clauses:
        places.append((at, at + len(clause)))
        at += len(clause) + 1
    return [(part.tool, part.text) for part in parts_of("|".join(clauses), places, POINTS.__getitem__)]


def test_each_part_has_its_tool() -> None:
    assert divided(TRAIN, FILM) == [("trains", TRAIN), ("films", FILM)]


def test_a_clause_of_no_tool_belongs_to_the_part_before_it_and_at_the_beginning_to_the_first() -> None:
    assert divided(TRAIN, NOON, FILM) == [("trains", f"{TRAIN}|{NOON}"), ("films", FILM)]
    assert divided(MORNING, TRAIN, FILM) == [("trains", f"{MORNING}|{TRAIN}"), ("films", FILM)]


@pytest.mark.parametrize("clauses", [[TRAIN], [TRAIN, NOON], [TRAIN, TRAIN], [MORNING, NOON], [TRAIN, EITHER], []])
def test_a_request_about_one_tool_or_none_is_not_divided(clauses: list[str]) -> None:
    assert divided(*clauses) == []


def test_a_part_may_come_back_to_an_earlier_tool() -> None:
    assert [tool for tool, _ in divided(TRAIN, FILM, TRAIN)] == ["trains", "films", "trains"]


def test_the_tools_of_the_parts_are_shown_and_without_parts_the_best() -> None:
    judged = [JudgedTool(name=name, margin=margin, search=0.0) for name, margin in (("films", -1.0), ("trains", 2.0))]
    parts = [Part(tool="films", text=FILM), Part(tool="trains", text=TRAIN), Part(tool="films", text=FILM)]
    choice = chosen(judged, parts)
    assert choice.shown == ("films", "trains")
    assert (choice.asked_of("trains", "all of it"), choice.asked_of("ships", "all of it")) == (TRAIN, "all of it")
    assert chosen(judged).shown == ("trains",)
