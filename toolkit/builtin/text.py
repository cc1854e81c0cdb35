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


@tool(effect="pure")
def initials(name: str, with_dots: bool = False) -> str:
    """Find the initials of a person's name.

    Args:
        name: The full name.
        with_dots: Whether to put a dot after each letter.
    """
    letters = [word[0].upper() for word in re.findall(r"\w+", name)]
    if not letters:
        raise ValueError("name holds no letters; give a name")
    return "".join(f"{letter}." if with_dots else letter for letter in letters)


@tool(effect="pure")
def make_slug(title: str, use_underscores: bool = False) -> str:
    """Turn a title into a slug for a web address or file name.

    Args:
        title: The title.
        use_underscores: Join the words by underscores, not by hyphens.
    """
    words = re.findall(r"\w+", title.lower())
    if not words:
        raise ValueError("title holds no letters or digits; give a title")
    return ("_" if use_underscores else "-").join(words)


@tool(effect="pure")
def list_letters(text: str, keep_spaces: bool = False, sort_alphabetically: bool = False) -> list[str]:
    """Split a text into a list of its letters.

    Args:
        text: The text.
        keep_spaces: If true, spaces are listed too.
        sort_alphabetically: If true, the letters are put in order.
    """
    letters = [letter for letter in text if keep_spaces or not letter.isspace()]
    return sorted(letters) if sort_alphabetically else letters


@tool(effect="pure")
def write_greeting(
    name: str, language: Literal["English", "German", "French", "Spanish"] = "English", formal: bool = False
) -> str:
    """Write a greeting to somebody.

    Args:
        name: Who is greeted.
        language: The language of the greeting.
        formal: Whether the greeting is formal.
    """
    greetings = {
        "English": ("Hi", "Dear"),
        "German": ("Hallo", "Guten Tag"),
        "French": ("Salut", "Bonjour"),
        "Spanish": ("Hola", "Estimado/a"),
    }
    return f"{greetings[language][formal]} {name},"
