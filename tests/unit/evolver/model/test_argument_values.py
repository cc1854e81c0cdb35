"""Values for parameters: known ones, and invented ones by what the parameter says of itself."""

import random
import re
from typing import Annotated, Literal

import pytest

from evolver.model.argument_values import candidates, kind_of
from toolkit.declare import Known, tool
from toolkit.describing import describe

Town = Annotated[str, Known(("Ashford", "Millbrook", "Stony Creek"))]
Ticket = Annotated[int, Known((101, 102))]


@tool(effect="pure")
def book_trip(
    origin: Town,
    destination: Town,
    stops: list[Town],
    ticket: Ticket,
    passenger: str,
    guest: str | None,
    day: str,
    leaves_at: str,
    city: str,
    note: str,
    seats: int,
    travel_class: Literal["first", "second"],
) -> str:
    """Book a trip.

    Args:
        day: Date as YYYY-MM-DD.
        leaves_at: Time as HH:MM.
    """
    return ""


TOOL = describe(book_trip)


def values(name: str, seed: int = 1, count: int = 5) -> list[object]:
    return list(candidates(TOOL, name, random.Random(seed), count))


@pytest.mark.parametrize("name", ["origin", "destination", "stops"])
def test_known_values_are_taken_where_there_are_some(name: str) -> None:
    assert sorted(map(str, values(name))) == ["Ashford", "Millbrook", "Stony Creek"]
    assert len(values(name, count=2)) == 2


def test_known_numbers_are_values_too() -> None:
    assert sorted(map(str, values("ticket"))) == ["101", "102"]


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("guest", r"[A-Z][a-z]+( [A-Z][A-Za-z'-]+)*"),
        ("day", r"202[3-7]-\d\d-\d\d"),
        ("leaves_at", r"\d\d:(00|15|30|45)"),
        ("city", r"[A-Z][\w' -]+"),
    ],
)
def test_invented_values_have_the_form_of_their_kind(name: str, form: str) -> None:
    found = values(name)
    assert len(set(found)) == len(found) == 5
    assert all(re.fullmatch(form, str(value)) for value in found)


@pytest.mark.parametrize("name", ["note", "seats", "travel_class"])
def test_what_says_nothing_of_its_kind_is_left_to_the_model(name: str) -> None:
    assert values(name) == []
    assert kind_of(TOOL, name) is None


def test_parameters_with_the_same_known_values_are_of_one_kind() -> None:
    assert kind_of(TOOL, "origin") == kind_of(TOOL, "destination") == kind_of(TOOL, "stops")
    assert kind_of(TOOL, "origin") != kind_of(TOOL, "city")


def test_the_same_seed_gives_the_same_values() -> None:
    assert values("guest", seed=3) == values("guest", seed=3) != values("guest", seed=4)
