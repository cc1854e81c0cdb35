"""The grammar under which requests are written: what fits it states every value, what lacks one does not."""

import re
import string

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from agent.text.matching import states
from evolver.model.request_grammar import stating, telling
from tests.fakes.grammar_regex import regex_of

QUICK = settings(max_examples=40, deadline=None)

FILLER = ("please", "with", "for", "me", "the")
NUMBERS = st.one_of(
    st.integers(-(10**9), 10**9),
    st.floats(-1e6, 1e6).map(lambda number: round(number, 2)),
)
TEXTS = st.text(string.ascii_letters + string.digits + " .+-*/()?$^|{}[]\\", min_size=1, max_size=20).filter(str.strip)
SCALARS = st.one_of(NUMBERS, TEXTS)
SILENT = st.one_of(st.just(False), st.none(), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2))
VALUES = st.lists(st.one_of(SCALARS, st.lists(SCALARS, min_size=1, max_size=4)), min_size=1, max_size=3)


def said(value: JsonValue) -> str:
    """As a person would write it."""
    if isinstance(value, list):
        return ", ".join(map(said, value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def sentence(parts: list[str]) -> str:
    return f" Please {' for '.join(parts)} now."


def request(values: list[JsonValue], verb: str = "") -> str | None:
    return stating({f"p{n}": value for n, value in enumerate(values)}, {}, verb)


def matches(grammar: str | None, text: str) -> bool:
    assert grammar is not None
    return re.fullmatch(regex_of(grammar), text) is not None


@QUICK
@given(VALUES, st.sampled_from(("forward", "backward", "from the second")))
def test_a_sentence_that_states_the_values_in_an_order_of_the_grammar_matches(
    values: list[JsonValue], way: str
) -> None:
    order = {"forward": values, "backward": values[::-1], "from the second": [*values[1:], *values[:1]]}[way]
    assert matches(request(values), sentence([said(value) for value in order]))


@QUICK
@given(VALUES, st.data())
def test_a_sentence_that_lacks_a_value_does_not_match(values: list[JsonValue], data: st.DataObject) -> None:
    lacking = data.draw(st.integers(0, len(values) - 1))
    text = sentence([said(value) if n != lacking else "something" for n, value in enumerate(values)])
    missing = values[lacking]
    parts = missing if isinstance(missing, list) else [missing]
    assume(not all(said(part) in text for part in parts))
    assert not matches(request(values), text)


@QUICK
@given(st.lists(NUMBERS, min_size=2, max_size=5), st.data())
def test_a_list_that_lacks_an_element_does_not_match(values: list[JsonValue], data: st.DataObject) -> None:
    lacking = data.draw(st.integers(0, len(values) - 1))
    rest = [said(value) for n, value in enumerate(values) if n != lacking]
    assert not matches(request([values]), sentence([", ".join(rest)]))


@QUICK
@given(VALUES, st.integers(1000, 9999))
def test_another_number_in_the_sentence_does_not_match(values: list[JsonValue], other: int) -> None:
    good = sentence([said(value) for value in values])
    assume(str(other) not in good)
    assert not matches(request(values), good.replace(" now.", f" {other}."))


@QUICK
@given(st.lists(NUMBERS, min_size=1, max_size=3))
def test_what_matches_passes_the_check_of_what_is_stated(values: list[JsonValue]) -> None:
    text = sentence([said(value) for value in values])
    assert matches(request(values), text)
    assert all(states(text, value) for value in values)


@QUICK
@given(st.lists(SILENT, max_size=3), VALUES)
def test_what_cannot_be_stated_is_left_to_the_sentence(silent: list[JsonValue], values: list[JsonValue]) -> None:
    assert request(silent) is None
    assert matches(request([*silent, *values]), sentence([said(value) for value in values]))


@QUICK
@given(VALUES)
def test_a_sentence_with_markers_or_line_breaks_does_not_match(values: list[JsonValue]) -> None:
    good = sentence([said(value) for value in values])
    for bad in (good.replace(" now.", " now\n."), good.replace(" now.", " <tool_call>."), good.rstrip(".")):
        assert not matches(request(values), bad)


@pytest.mark.parametrize("text", ["Sort b and a and ignore case.", "Please ignore case with b, a now."])
def test_a_flag_that_is_set_is_asked_for_by_its_name(text: str) -> None:
    grammar = stating({"words": ["b", "a"], "ignore_case": True}, {}, "Sort")
    assert matches(grammar, f" {text}")
    assert not matches(grammar, f" {text.replace('ignore case', 'please')}")
    off = stating({"words": ["b", "a"], "ignore_case": False}, {}, "Sort")
    assert matches(off, " Sort b and a.")


@pytest.mark.parametrize(
    ("name", "description", "good", "bad"),
    [
        ("growth_rate", "The growth, for example 0.05.", "What is 5% growth?", "What is 0.05 growth?"),
        ("probability", "", "What is 5 percent now?", "What is 0.05 now?"),
        ("tax_rate", "The tax in percent.", "What is 0.05% tax?", "What is 5% tax?"),
        ("miles", "How far.", "What is 0.05 miles?", "What is 5% miles?"),
    ],
)
def test_a_share_of_one_is_asked_for_in_percent(name: str, description: str, good: str, bad: str) -> None:
    grammar = stating({name: 0.05}, {"properties": {name: {"type": "number", "description": description}}})
    assert matches(grammar, f" {good}")
    assert not matches(grammar, f" {bad}")


@pytest.mark.parametrize("joined", ["3, 1 and 2", "3, 1, 2", "3, 1, and 2", "3 and 1 and 2"])
def test_lists_are_joined_as_people_do(joined: str) -> None:
    assert matches(request([[3, 1, 2]], "Sort"), f" Sort {joined} please.")
    assert not matches(request([[3, 1, 2]], "Sort"), " Sort 312 please.")


def test_a_request_asks_or_orders_and_does_not_state() -> None:
    grammar = request([2.5], "Round")
    assert all(matches(grammar, f" {text}") for text in ("What is 2.5 rounded?", "Round 2.5.", "I need 2.5 rounded."))
    assert not any(matches(grammar, f" {text}") for text in ("That's 2.5 rounded.", "Yes, 2.5.", "Wound 2.5."))


@pytest.mark.parametrize(
    ("result", "good", "bad"),
    [
        (12.5, "The area is 12.5 square metres.", "The area is 12.4."),
        (["ivy", "oak"], "Sorted they are ivy, oak.", "Sorted they are oak, ivy."),
        ("2024-03-01", "It falls on 2024-03-01.", "It falls on 2024-03-02."),
        (True, "Yes, it is a leap year.", "No, it is not."),
        (False, "No, that is not one.", "Yes, that is one."),
        (7, "That makes 7.", "Of 3 that makes 7."),
    ],
)
def test_an_answer_tells_the_result_and_no_number_beside(result: JsonValue, good: str, bad: str) -> None:
    assert matches(telling(result), f" {good}")
    assert not matches(telling(result), f" {bad}")


def test_an_answer_may_say_the_values_of_the_call() -> None:
    grammar = telling(2, [26, "old oak"])
    assert matches(grammar, " The share of 26 for 'old oak' is 2.")
    assert not matches(grammar, " The share of 27 for 'old oak' is 2.")
    assert matches(telling(False, [2013]), " No, 2013 is not one.")


def test_what_cannot_be_said_cannot_be_told() -> None:
    assert telling({"a": 1}) is None
    assert telling(None) is None
    assert telling([]) is None
