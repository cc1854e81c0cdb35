import re

import pytest

from agent.text.flags import flag_grammar, speaks_of_flag
from tests.fakes.grammar_regex import regex_of


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("descending", "Sort these in descending order."),
        ("ignore_case", "Count them, ignoring case."),
        ("ignoreCase", "Please ignore the case."),
        ("include_weekday", "Write the date with the weekday."),
        ("with_dots", "Initials with dots, please."),
        ("allow_repeats", "Repeats are allowed."),
        ("round_trip", "It's a round trip."),
        ("is_open", "Only what is open."),
        ("with", "Do it with."),
    ],
)
def test_a_flag_is_spoken_of_by_the_words_of_its_name(name: str, text: str) -> None:
    assert speaks_of_flag(text, name)
    assert not speaks_of_flag("Tell me something else entirely.", name)


@pytest.mark.parametrize("name", ["descending", "ignoreCase", "include_weekday", "with_dots", "HTMLOutput", "keep"])
def test_what_asks_for_a_flag_speaks_of_it(name: str) -> None:
    asked = re.findall('"([^"]*)"', flag_grammar(name))[-1]
    assert re.fullmatch(regex_of(f"root ::= {flag_grammar(name)}"), asked)
    assert speaks_of_flag(f"Please {asked} now.", name)


def test_a_name_without_letters_says_nothing() -> None:
    assert not speaks_of_flag("1 2 3", "_1")
    assert flag_grammar("_1") == ""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("include_symbols", "A password without symbols, please."),
        ("include_symbols", "A password with no symbols."),
        ("ignore_case", "Count them, but don't ignore the case."),
        ("gift_wrap", "Send the vase and don't gift wrap it."),
    ],
)
def test_a_flag_that_is_not_wanted_is_not_asked_for(name: str, text: str) -> None:
    assert not speaks_of_flag(text, name)


def test_a_flag_may_be_named_for_what_is_not_wanted() -> None:
    assert speaks_of_flag("Write it with no spaces.", "no_spaces")
    assert not speaks_of_flag("Write it with spaces.", "no_spaces")
