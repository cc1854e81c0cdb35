"""Requests that say nothing new: equal words, or nearly equal words for equal calls."""

from collections.abc import Iterable
from itertools import pairwise

from evolver.text import normalised
from evolver.types import Trace

_ALIKE = 0.75
"""Of the pairs of neighbouring words that either request has, the share that both have (Jaccard)."""


class Accepted:
    """The requests that were accepted so far.

    Alike words for other calls are no duplicates: which value goes where is what such a pair teaches.
    """

    def __init__(self, traces: Iterable[Trace] = ()) -> None:
        self._forms: set[str] = set()
        self._pairs: dict[str, list[set[tuple[str, str]]]] = {}
        for trace in traces:
            self.add(trace)

    def add(self, trace: Trace) -> None:
        self._forms.add(_form(trace))
        self._pairs.setdefault(trace.calls_key, []).append(_pairs(trace))

    def repeated_by(self, trace: Trace) -> str:
        """The reason to drop ``trace``, or ""."""
        if _form(trace) in self._forms:
            return "duplicate"
        new = _pairs(trace)
        alike = any(_share(new, old) >= _ALIKE for old in self._pairs.get(trace.calls_key, ()))
        return "near_duplicate" if alike else ""


def _form(trace: Trace) -> str:
    return normalised(" ".join(trace.spoken))


def _pairs(trace: Trace) -> set[tuple[str, str]]:
    return set(pairwise(_form(trace).split()))


def _share(some: set[tuple[str, str]], others: set[tuple[str, str]]) -> float:
    return len(some & others) / max(1, len(some | others))
