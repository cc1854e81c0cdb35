"""The pattern under which requests are written: what matches states every value, what lacks one does not match."""

import re
import string

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from evolver.text import states
from evolver.wording import stating

QUICK = settings(max_examples=40, deadline=None)

FILLER = ("please", "with", "for", "me", "the")
NUMBERS = st.one_of(
    st.integers(-(10**9), 10**9),
    st.floats(-1e6, 1e6).map(lambda number: round(number, 2)),
)
TEXTS = st.text(string.ascii_letters + string.digits + " .+-*/()?$^|{}[]\\", min_size=1, max_size=20).filter(str.strip)
SCALARS = st.one_of(NUMBERS, TEXTS)
SILENT = st.one_of(st.booleans(), st.none(), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2))
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


def matches(pattern: str | None, text: str) -> bool:
    assert pattern is not None
    return re.fullmatch(pattern, text) is not None


@QUICK
@given(VALUES, st.sampled_from(("forward", "backward", "from the second")))
def test_a_sentence_that_states_the_values_in_an_order_of_the_pattern_matches(
    values: list[JsonValue], way: str
) -> None:
    order = {"forward": values, "backward": values[::-1], "from the second": [*values[1:], *values[:1]]}[way]
    assert matches(stating(values), sentence([said(value) for value in order]))


@QUICK
@given(VALUES, st.data())
def test_a_sentence_that_lacks_a_value_does_not_match(values: list[JsonValue], data: st.DataObject) -> None:
    lacking = data.draw(st.integers(0, len(values) - 1))
    text = sentence([said(value) if n != lacking else "something" for n, value in enumerate(values)])
    missing = values[lacking]
    parts = missing if isinstance(missing, list) else [missing]
    assume(not all(said(part) in text for part in parts))
    assert not matches(stating(values), text)


@QUICK
@given(st.lists(NUMBERS, min_size=2, max_size=5), st.data())
def test_a_list_that_lacks_an_element_does_not_match(values: list[JsonValue], data: st.DataObject) -> None:
    lacking = data.draw(st.integers(0, len(values) - 1))
    rest = [said(value) for n, value in enumerate(values) if n != lacking]
    assert not matches(stating([values]), sentence([", ".join(rest)]))


@QUICK
@given(VALUES, st.integers(1000, 9999))
def test_another_number_in_the_sentence_does_not_match(values: list[JsonValue], other: int) -> None:
    good = sentence([said(value) for value in values])
    assume(str(other) not in good)
    assert not matches(stating(values), good.replace(" now.", f" {other}."))


@QUICK
@given(st.lists(NUMBERS, min_size=1, max_size=3))
def test_what_matches_passes_the_check_of_what_is_stated(values: list[JsonValue]) -> None:
    text = sentence([said(value) for value in values])
    assert matches(stating(values), text)
    assert all(states(text, value) for value in values)


@QUICK
@given(st.lists(SILENT, max_size=3), VALUES)
def test_what_cannot_be_stated_is_left_to_the_sentence(silent: list[JsonValue], values: list[JsonValue]) -> None:
    assert stating(silent) is None
    assert matches(stating([*silent, *values]), sentence([said(value) for value in values]))


@QUICK
@given(VALUES)
def test_a_sentence_with_markers_or_line_breaks_does_not_match(values: list[JsonValue]) -> None:
    good = sentence([said(value) for value in values])
    for bad in (good.replace(" now.", " now\n."), good.replace(" now.", " <tool_call>."), good.rstrip(".")):
        assert not matches(stating(values), bad)


@pytest.mark.parametrize("joined", ["3, 1 and 2", "3, 1, 2", "3, 1, and 2", "3 and 1 and 2"])
def test_lists_are_joined_as_people_do(joined: str) -> None:
    assert matches(stating([[3, 1, 2]]), f" Sort {joined} please.")
    assert not matches(stating([[3, 1, 2]]), " Sort 312 please.")
