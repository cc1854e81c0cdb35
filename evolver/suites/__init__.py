"""Held-out requests with what rightly follows. Read by ``evaluate`` alone; other stages see fingerprints only."""

import hashlib
import json
from importlib.resources import files

from pydantic import ValidationError

from evolver.errors import StageError
from evolver.text import normalised
from evolver.types import Call, Frozen

HELD_OUT = "heldout"


class Item(Frozen):
    """One request. ``expected`` empty: it needs no tool."""

    id: str
    request: str
    expected: tuple[Call, ...] = ()


class Suite(Frozen):
    """Named items, and the hash of the file that they come from."""

    name: str
    sha256: str
    items: tuple[Item, ...]


def load(name: str = HELD_OUT) -> Suite:
    """The suite ``name``. Raises StageError when there is none or it is damaged."""
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
    """Says whether a request stands in a suite, without showing any: exact normal forms and 8-grams, hashed."""

    _LENGTH = 8

    def __init__(self) -> None:
        requests = [normalised(item.request) for name in names() for item in load(name).items]
        self._exact = {_hash(text) for text in requests}
        self._grams = {_hash(gram) for text in requests for gram in self._split(text)}

    def __call__(self, request: str) -> bool:
        text = normalised(request)
        return _hash(text) in self._exact or any(_hash(gram) in self._grams for gram in self._split(text))

    def _split(self, text: str) -> list[str]:
        words = text.split()
        return [" ".join(words[i : i + self._LENGTH]) for i in range(len(words) - self._LENGTH + 1)]


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
