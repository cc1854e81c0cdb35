"""Requests that say nothing new: equal words, or nearly equal words for equal calls."""

import json
from collections.abc import Iterable
from hashlib import blake2b
from itertools import pairwise

from agent.text.matching import normalised
from evolver.lessons.drop_reason import DropReason
from evolver.types import ClientTurn, Trace

_ALIKE = 0.75
"""Share of the pairs of neighbouring words of either request that both must have (Jaccard)."""


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
        self._pairs.setdefault(_calls(trace), []).append(_pairs(trace))

    def repeated_by(self, trace: Trace) -> DropReason | None:
        """Return the reason to drop ``trace``, or None."""
        if _form(trace) in self._forms:
            return DropReason.DUPLICATE
        new = _pairs(trace)
        alike = any(_share(new, old) >= _ALIKE for old in self._pairs.get(_calls(trace), ()))
        return DropReason.NEAR_DUPLICATE if alike else None


def _form(trace: Trace) -> str:
    """Return the words of a trace; those of a client's follow its tools, with which they may mean another call."""
    words = normalised(" ".join(trace.spoken))
    return words if trace.client_turn is None else f"{_tools(trace.client_turn)} {words}"


def _tools(client_turn: ClientTurn) -> str:
    return blake2b(json.dumps(client_turn.tools).encode(), digest_size=8).hexdigest()


def _calls(trace: Trace) -> str:
    return trace.calls_key if trace.client_turn is None else f"{_tools(trace.client_turn)} {trace.calls_key}"


def _pairs(trace: Trace) -> set[tuple[str, str]]:
    return set(pairwise(_form(trace).split()))


def _share(some: set[tuple[str, str]], others: set[tuple[str, str]]) -> float:
    return len(some & others) / max(1, len(some | others))
