"""What says nothing new."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver.lessons.duplicates import Accepted
from evolver.types import Trace
from tests.fakes.evolution import trace, turn


def adding(request: str, first: int = 21) -> Trace:
    return trace(request, "add_prices", {"first": first, "second": 34}, first + 34)


FIRST = adding("Please add the two prices 21 and 34 for me.")


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ("please add the two prices 21 and 34 for me!", "duplicate"),
        ("Please add the two prices 21 and 34 for me now.", "near_duplicate"),
        ("Add the two prices 21 and 34 for me.", "near_duplicate"),
        ("Please add the prices 21 and 34 for me.", ""),
        ("What do 21 and 34 add up to?", ""),
        ("For me, please add 21 and 34, the two prices.", ""),
    ],
)
def test_equal_and_nearly_equal_words_for_one_call(request_: str, why: str) -> None:
    assert (Accepted([FIRST]).repeated_by(adding(request_)) or "") == why


def test_the_same_words_after_something_else_was_said_are_another_request() -> None:
    said = [FIRST.model_copy(update={"history": turn(f"I have bought {thing} today").messages}) for thing in ("a", "b")]
    assert Accepted([FIRST]).repeated_by(said[0]) is None
    assert Accepted(said[:1]).repeated_by(said[0]) == "duplicate"


def test_alike_words_for_another_call_teach_which_value_goes_where() -> None:
    assert Accepted([FIRST]).repeated_by(adding("Please add the two prices 22 and 34 for me.", 22)) is None


def test_equal_words_for_another_call_are_a_duplicate_all_the_same() -> None:
    assert Accepted([FIRST]).repeated_by(adding(FIRST.request, 22)) == "duplicate"


def test_talk_is_compared_with_talk() -> None:
    accepted = Accepted([trace("Tell me something about the life of foxes.")])
    assert accepted.repeated_by(trace("Tell me something about the life of foxes, please.")) == "near_duplicate"
    assert accepted.repeated_by(trace("Tell me something about the work of bakers.")) is None


@given(st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=6).map(" ".join))
def test_what_was_added_is_known(words: str) -> None:
    accepted = Accepted()
    assert accepted.repeated_by(adding(words)) is None
    accepted.add(adding(words))
    assert accepted.repeated_by(adding(words)) == "duplicate"
