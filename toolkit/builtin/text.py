"""Words and letters."""

import re
from typing import Literal

from toolkit.declare import tool


@tool(effect="pure")
def count_words(text: str) -> int:
    """Count the words in a text.

    Args:
        text: The text.
    """
    return len(text.split())


@tool(effect="pure")
def count_letter(text: str, letter: str) -> int:
    """Count how often a letter occurs in a text, capital or small.

    Args:
        text: The text.
        letter: The letter.
    """
    if len(letter) != 1:
        raise ValueError("letter must be a single character")
    return text.lower().count(letter.lower())


@tool(effect="pure")
def text_length(text: str) -> int:
    """Count the characters in a text, spaces included.

    Args:
        text: The text.
    """
    return len(text)


@tool(effect="pure")
def reverse_text(text: str) -> str:
    """Write a text backwards.

    Args:
        text: The text.
    """
    return text[::-1]


@tool(effect="pure")
def change_case(text: str, case: Literal["upper", "lower", "title"]) -> str:
    """Write a text in capital letters, small letters, or with each word capitalised.

    Args:
        text: The text.
        case: upper, lower or title.
    """
    return {"upper": text.upper(), "lower": text.lower(), "title": text.title()}[case]


@tool(effect="pure")
def replace_text(text: str, old: str, new: str) -> str:
    """Replace a word or part of a text by another everywhere.

    Args:
        text: The text.
        old: What to replace.
        new: What to put in its place.
    """
    if not old:
        raise ValueError("old is empty; say what to replace")
    replaced = text.replace(old, new)
    if len(replaced) > 100_000:
        raise ValueError("the result is too long; use a shorter text")
    return replaced


@tool(effect="pure")
def is_palindrome(text: str) -> bool:
    """Check whether a text reads the same backwards, ignoring spaces and punctuation.

    Args:
        text: The text.
    """
    letters = re.sub(r"[\W_]", "", text.lower())
    if not letters:
        raise ValueError("text holds no letters or digits; give a word")
    return letters == letters[::-1]
