"""Held-out requests with what rightly follows. Read by ``evaluate`` alone; other stages see fingerprints only."""

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import ValidationError

from agent.text.matching import normalised
from agent.turn.messages import Message
from evolver.errors import StageError
from evolver.evaluation.suites import bfcl
from evolver.types import Call
from toolkit.frozen import Frozen

HELD_OUT = "heldout"
DEVELOPMENT = "develop"
"""The requests on which defaults are chosen, so that the held-out ones stay unseen."""
SEALED = "sealed"
"""The requests on which a release is judged, once."""


class Item(Frozen):
    """One request. ``expected`` empty: it needs no tool. ``ordered``: each expected call builds on what the ones before
    it left or returned, so that they are made in this order and in one workspace; else each in an empty one.

    ``tools`` are those that a client brought with the request, and ``history`` what it sent before it: asked is its
    first step, and calls are compared by their arguments. Without ``tools`` the agent is asked, with its own."""

    id: str
    request: str
    expected: tuple[Call, ...] = ()
    ordered: bool = False
    tools: tuple[dict[str, Any], ...] = ()
    history: tuple[Message, ...] = ()


class Suite(Frozen):
    """Named items, and the hash of the file that they come from."""

    name: str
    sha256: str
    items: tuple[Item, ...]


def read_suite(name: str = HELD_OUT) -> Suite:
    """Read the suite ``name``. Raises StageError when there is none or it is damaged."""
    file = files(__name__) / f"{name}.jsonl"
    if not file.is_file():
        raise StageError(f"there is no suite {name!r}; there is: {', '.join(names())}")
    data = file.read_bytes()
    try:
        items = tuple(Item.model_validate(json.loads(line)) for line in data.splitlines() if line.strip())
    except (ValueError, ValidationError) as error:
        raise StageError(f"suite {name} is damaged: {error}") from None
    return Suite(name=name, sha256=hashlib.sha256(data).hexdigest(), items=items)


def names() -> list[str]:
    return sorted(
        file.name.removesuffix(".jsonl") for file in files(__name__).iterdir() if file.name.endswith(".jsonl")
    )


class Fingerprints:
    """Says whether a request stands in a shipped suite or an installed benchmark, without showing any: exact normal
    forms and 8-grams, hashed. ``names`` are those that it knows: a benchmark that is not installed is none of them.

    ``free`` are requests of the shipped suites that may be learned from all the same."""

    def __init__(self, free: Iterable[str] = ()) -> None:
        freed = set(map(normalised, free))
        self.names = (*names(), *([bfcl.PREFIX.rstrip(":")] if bfcl.data_folder() else []))
        shipped = (item.request for name in names() for item in read_suite(name).items)
        self._shipped = _Hashes(request for request in shipped if normalised(request) not in freed)
        self._benchmark, self._tools = _benchmark()

    def __call__(self, request: str) -> bool:
        return request in self._shipped or request in self._benchmark

    def tool(self, description: str) -> bool:
        """Return whether a benchmark's tool is described like this."""
        return description in self._tools


class _Hashes:
    _LENGTH = 8

    def __init__(self, texts: Iterable[str]) -> None:
        self._exact: set[bytes] = set()
        self._grams: set[bytes] = set()
        for text in map(normalised, texts):
            if text:
                self._exact.add(_hash(text))
                self._grams.update(map(_hash, self._split(text)))

    def __contains__(self, text: str) -> bool:
        text = normalised(text)
        return _hash(text) in self._exact or any(_hash(gram) in self._grams for gram in self._split(text))

    def _split(self, text: str) -> list[str]:
        words = text.split()
        return [" ".join(words[i : i + self._LENGTH]) for i in range(len(words) - self._LENGTH + 1)]


@cache
def _benchmark() -> tuple[_Hashes, _Hashes]:
    return _Hashes(bfcl.queries()), _Hashes(bfcl.descriptions())


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
