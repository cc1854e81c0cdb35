"""Boolean parameters in requests: does a request speak of one? Pure.

Nobody says ``true``: who wants ``include_weekday`` asks for a date "with the weekday", who wants ``descending`` for
"descending" order. So a flag is stated by the words of its name.
"""

import re

_WORD = re.compile(r"[a-z]+")
_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_SILENT = frozenset(
    ("is", "are", "has", "have", "should", "do", "does", "with", "a", "an", "the", "of", "in", "to", "or", "if")
)
_OFFERING = frozenset(("include", "includes", "including", "add", "show", "return", "use", "keep", "get"))
"""First words of flags that people express in many ways, or leave out."""
_NEGATIONS = frozenset(("no", "not", "without", "don", "doesn", "never", "excluding", "except", "instead"))
_NEAR = 3
"""So many words before what is spoken of can turn it into its opposite."""
_SHORTEST_STEM = 3


def speaks_of_flag(text: str, name: str) -> bool:
    """Return whether ``text`` has every word of the parameter's name that says something, in whatever form, and not to
    say that it is not wanted."""
    wanted = [_stem(word) for word in flag_words(name)[0]]
    words = _WORD.findall(text.lower())
    said = [_stem(word) for word in words]
    if not wanted or any(word not in said for word in wanted):
        return False
    first = min(map(said.index, wanted))
    return _NEGATIONS.isdisjoint(words[max(0, first - _NEAR) : first])


def flag_grammar(name: str) -> str:
    """Return an EBNF expression for the words by which a request may ask for the flag; "" where its name has none."""
    words, offered = flag_words(name)
    offer = '(("including" | "include" | "with") " " ("the ")?)? ' if offered else ""
    return f'{offer}"{" ".join(words)}"' if words else ""


def flag_words(name: str) -> tuple[list[str], bool]:
    """Return the words of the parameter's name that say something, and whether what came before them only offers it."""
    words = words_of(name)
    rest = [word for word in words if word not in _SILENT]
    if len(rest) > 1 and rest[0] in _OFFERING:
        rest = rest[1:]
    rest = rest or words
    return rest, rest[:1] != words[:1]


def words_of(name: str) -> list[str]:
    """Return ``a_name`` and ``aName`` in words, in small letters."""
    return [part.lower() for part in _PARTS.findall(name)]


def _stem(word: str) -> str:
    stem = re.sub(r"(ing|ed|es|s|e)$", "", word)
    return stem if len(stem) >= _SHORTEST_STEM else word
