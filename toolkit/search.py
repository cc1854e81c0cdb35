"""Finding the tools that fit a request, so that the prompt shows few of many."""

import math
import re
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import snowballstemmer

from toolkit.meaning import vectors
from toolkit.tool import Tool

VECTORS_FILE = "tool_vectors.npy"
"""Name of the file in the data folder where commands keep the vectors of tools."""

_WORD = re.compile(r"[a-z]+|[0-9]+")
_K1, _B = 1.4, 0.6
_NAME_WEIGHT = 3
_MEANING_WEIGHT = 50.0
"""Weight of the cosine between request and tool, in BM25 points (docs/decisions/0002)."""
_VALUES = (
    (re.compile(r"\{.*\}|\[.*\]", re.DOTALL), "JSON data"),
    (re.compile(r"\"[^\"]*\"|(?<!\w)'[^']*'(?!\w)"), "a text"),
)
"""Parts of a request that say what a tool works on, not which one, and what stands for them in its meaning."""
_STOP = frozenset(
    _WORD.findall(
        "a an and are as at be by can do for from give how i if in into is it its many me much my of on or please tell "
        "that the there this to was what when which will with would you your"
    )
)


_BREAK = re.compile(r"(?<=[.;?!])\s+|\n+|,?\s+(?:and|then|also|plus|as well as|after that)\s+|,\s+", re.IGNORECASE)
_MARKS = ('"', "'")


def clauses_of(request: str) -> list[tuple[int, int]]:
    """Return the places in ``request`` at which its clauses begin and end. A quoted value stays whole."""
    start, end = _inside(request)
    masked = request[start:end]
    for form, _ in _VALUES:
        masked = form.sub(lambda found: "x" * len(found[0]), masked)
    breaks = [(start + found.start(), start + found.end()) for found in _BREAK.finditer(masked)]
    begins, ends = [start, *(after for _, after in breaks)], [*(before for before, _ in breaks), end]
    return [(begin, end) for begin, end in zip(begins, ends, strict=True) if request[begin:end].strip()]


class ToolIndex:
    """Ranks tools for a text by their words and by their meaning.

    Words: BM25 over name, description, parameter names and their descriptions (Robertson and Zaragoza, "The
    Probabilistic Relevance Framework: BM25 and Beyond", 2009). Meaning: the cosine between the text, without the values
    that it quotes, and the tool's name and description. Deterministic: equal scores keep the order of ``tools``. May be
    shared by threads. ``vectors_file`` remembers the tools' vectors for the next start (toolkit.meaning).
    """

    def __init__(self, tools: Iterable[Tool], *, vectors_file: Path | None = None) -> None:
        self._tools = list(tools)
        self._stem = snowballstemmer.stemmer("english").stemWord
        self._stemming = threading.Lock()  # the stemmer keeps the word that it works on
        self._stems: dict[str, str] = {}
        self._counts = [Counter(self._terms(_text_of(tool))) for tool in self._tools]
        self._lengths = [sum(counts.values()) for counts in self._counts]
        self._mean = (sum(self._lengths) / len(self._lengths) if self._lengths else 0.0) or 1.0
        found_in = Counter(term for counts in self._counts for term in counts)
        total = len(self._tools)
        self._weights = {term: math.log(1 + (total - n + 0.5) / (n + 0.5)) for term, n in found_in.items()}
        self._meanings = vectors([f"{_spoken(tool.name)}. {tool.description}" for tool in self._tools], vectors_file)

    def __len__(self) -> int:
        return len(self._tools)

    def top(self, query: str, top_k: int) -> list[Tool]:
        """Return the ``top_k`` tools that fit ``query`` best, best first; all of them when there are fewer."""
        return [self._tools[place] for place, _ in self.ranked(query)[:top_k]]

    def ranked(self, query: str) -> list[tuple[int, float]]:
        """Return the places of all tools in the order of how they fit ``query``, best first, each with its points."""
        if not self._tools:
            return []
        terms = set(self._terms(query))
        meant = (self._meanings @ vectors([_without_values(query)])[0]).tolist()
        scores = [self._score(terms, index) + _MEANING_WEIGHT * meant[index] for index in range(len(self._tools))]
        return sorted(enumerate(scores), key=lambda found: -found[1])

    def _score(self, terms: set[str], index: int) -> float:
        counts, norm = self._counts[index], _K1 * (1 - _B + _B * self._lengths[index] / self._mean)
        return math.fsum(
            self._weights[term] * counts[term] * (_K1 + 1) / (counts[term] + norm)
            for term in sorted(terms & counts.keys())
        )

    def _terms(self, text: str) -> list[str]:
        return [self._stemmed(word) for word in _WORD.findall(text.lower()) if word not in _STOP]

    def _stemmed(self, word: str) -> str:
        if word not in self._stems:
            with self._stemming:
                self._stems[word] = self._stem(word)
        return self._stems[word]


def _text_of(tool: Tool) -> str:
    parts = [_spoken(tool.name)] * _NAME_WEIGHT + [tool.description]
    properties = tool.parameters.get("properties")
    for name, field in properties.items() if isinstance(properties, dict) else ():
        parts.append(_spoken(name))
        if isinstance(field, dict) and isinstance(field.get("description"), str):
            parts.append(str(field["description"]))
    return " ".join(parts)


def _without_values(query: str) -> str:
    start, end = _inside(query)
    query = query[start:end]
    for form, name in _VALUES:
        query = form.sub(name, query)
    return query


def _inside(request: str) -> tuple[int, int]:
    """Return where a request begins and ends, without the quotation marks that stand around all of it."""
    start, end = len(request) - len(request.lstrip()), len(request.rstrip())
    text = request[start:end]
    marked = len(text) > 1 and text[0] in _MARKS and text[-1] == text[0] and text.count(text[0]) == len(_MARKS)
    return (start + 1, end - 1) if marked else (start, end)


def _spoken(name: str) -> str:
    return name.replace("_", " ")
