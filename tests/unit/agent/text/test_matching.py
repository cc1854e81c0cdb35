"""Which values a text states, and when two texts are the same."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.text.matching import normalised, numbers, same_question, states

QUICK = settings(max_examples=40, deadline=None)

WORDS = st.lists(st.text(string.ascii_lowercase, min_size=1, max_size=8), min_size=1, max_size=6)


@QUICK
@given(WORDS, st.sampled_from(["{}!", "  {} ", "{}?", "'{}'"]))
def test_case_punctuation_and_spaces_make_no_other_text(words: list[str], frame: str) -> None:
    text = " ".join(words)
    assert normalised(frame.format(text.upper())) == normalised(text) == text


@QUICK
@given(WORDS, WORDS)
def test_other_words_make_another_text(one: list[str], other: list[str]) -> None:
    assert (normalised(" ".join(one)) == normalised(" ".join(other))) == (one == other)


@QUICK
@given(st.integers(-(10**15), 10**15), WORDS)
def test_a_number_is_stated_by_its_digits(value: int, words: list[str]) -> None:
    text = " ".join(words)
    assert states(f"{text} {value} {text}", value)
    assert states(f"{text} {value:,}.", value)
    assert not states(f"{text} {value + 1} {text}", value)
    assert not states(text, value)


@QUICK
@given(st.integers(min_value=2**53, max_value=10**60))
def test_a_long_number_is_compared_digit_by_digit(value: int) -> None:
    assert states(f"Is {value} prime?", value)
    assert not states(f"Is {value + 1} prime?", value)


@QUICK
@given(st.decimals(-1000, 1000, places=3).map(float))
def test_a_decimal_number_is_stated(value: float) -> None:
    assert states(f"about {value:.3f} of it", value)
    assert numbers(f"about {value:.3f} of it") == [value]


def test_more_digits_than_python_reads_as_an_int_are_no_error() -> None:
    assert not states("9" * 5000, 9)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("no number", []),
        ("1,234 and 12", [1234, 12]),
        ("1, 2,3 and 4", [1, 2, 3, 4]),
        ("from -5 to 5-3", [-5, 5, 3]),
        ("on 2024-01-05.", [2024, 1, 5]),
        ("3.5% of 1,000,000.25", [3.5, 1000000.25]),
        ("a1 b2", []),
    ],
)
def test_numbers_of_a_text(text: str, found: list[float]) -> None:
    assert numbers(text) == found


@pytest.mark.parametrize(
    ("text", "value", "stated"),
    [
        ("Say Hello to her", "hello", True),
        ("Say Othello to her", "hello", False),
        ("Say  to her", " ", False),
        ("what about c++?", "c++", True),
        ("sort 3, 1 and 2", [1, 2, 3], True),
        ("sort 3 and 1", [1, 2, 3], False),
        ("sort nothing", [], False),
        ("in upper case", True, True),
        ("anything", None, True),
        ("a 3 and b 4", {"a": 3, "b": 4}, True),
        ("a 3", {"a": 3, "b": 4}, False),
        ("it is 1", True, True),
    ],
)
def test_states(text: str, value: object, stated: bool) -> None:
    assert states(text, value) is stated


@QUICK
@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)
    assert all(isinstance(number, int | float) for number in numbers(text))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("What is the weather in Paris?", "what is the wheather in paris", True),
        ("What is the weather in Paris?", "What is the weather in Paris, please?", True),
        ("What is the weather in Paris?", "What is the weather in Rome?", False),
        ("What is the capital of France?", "What is the capital of Spain?", False),
        ("Is the shop open on Monday?", "Is the shop open on Sunday?", False),
        ("What is 15 percent of 50?", "What is 15 percent of 80?", False),
        ("What is 15 percent of 50?", "what's 15 percent of 50", True),
        ("What is 1,050 plus 2?", "What is 1,051 plus 2?", False),
        ("What is 15 percent of 50?", "Tell me again: what is 15 percent of 50", True),
        ("Is teh shop open on Monday?", "Is the shop opne on Monday?", False),
        ("Is the shop open on Monday?", "Is the shop opne on Mnday?", True),
        ("Add 1 and 2", "Add 2 and 1", False),
        ("Convert 100 USD to EUR", "Convert 100 EUR to USD", False),
        ("Increase the price of 50 by 10 percent", "Decrease the price of 50 by 10 percent", False),
        ("Is it open on Tuesday?", "Is it open on Thursday?", False),
        ("The capital of Austria", "The capital of Australia", False),
        ("Sum column A", "Sum column B", False),
        ("Add 1 and 2", "Who wrote the 1 and 2 books?", False),
        ("?", "!", False),
    ],
)
def test_when_a_question_is_put_again(one: str, other: str, same: bool) -> None:
    assert same_question(one, other) is same
    assert same_question(other, one) is same
