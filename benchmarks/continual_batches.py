"""Batches of built-in tools that arrive one after another, each with requests that score it and requests for the log.

A batch is whole families of tools. The requests of the suites ``heldout`` and ``develop`` for its tools are divided by
seed: two thirds score it, of the others the log gets the texts. No text that the log gets has nearly the words of one
that scores.
"""

import hashlib
import importlib
import random
from collections.abc import Iterable, Mapping, Sequence

from agent.text.matching import normalised
from evolver.evaluation import suites
from evolver.evaluation.suites import Item, Suite
from toolkit.describing import tools_of
from toolkit.errors import UserError
from toolkit.frozen import Frozen
from toolkit.sources import builtin_modules

SOURCES = (suites.HELD_OUT, suites.DEVELOPMENT)
"""The suites that are divided. ``sealed`` stays closed."""
NEAR = 0.7
"""Two requests with a larger share of their words in common are nearly the same."""
_SCORED_SHARE = 2 / 3

Families = Mapping[str, Sequence[str]]
"""Names of the tools of each module."""


class Batch(Frozen):
    """Tools that arrive together: those of ``modules``. ``scored`` are the requests that score them, ``unlabelled`` the
    texts of shipped requests that the log gets."""

    number: int
    modules: tuple[str, ...]
    tools: tuple[str, ...]
    scored: tuple[Item, ...]
    unlabelled: tuple[str, ...]

    def suite(self, limit: int | None = None) -> Suite:
        """Return the suite of its first ``limit`` scored requests."""
        return as_suite(f"batch-{self.number}", self.scored[:limit])


class Plan(Frozen):
    """The ``batches`` in the order in which they arrive, and the no-tool requests: those that score (``silent``), and
    those that the gate asks (``gate``)."""

    batches: tuple[Batch, ...]
    silent: tuple[Item, ...]
    gate: tuple[Item, ...]

    @property
    def free(self) -> list[str]:
        """The shipped requests that the log gets, of all batches."""
        return [request for batch in self.batches for request in batch.unlabelled]


def builtin_families() -> dict[str, list[str]]:
    """Return the names of the built-in tools by the full names of their modules."""
    return {
        module: [tool.name for tool in tools_of(importlib.import_module(module), source="builtin")]
        for module in builtin_modules()
    }


def plan(families: Families, items: Mapping[str, Sequence[Item]], *, count: int, size: int, seed: int) -> Plan:
    """Return ``count`` batches of at least ``size`` tools each, chosen and divided by ``seed``.

    ``items`` are the requests of each of SOURCES. Families for which there is no request are left out. Raises UserError
    where there are too few.
    """
    rng = random.Random(seed)
    asked = [item for name in SOURCES for item in items[name] if item.expected]
    silent = [item for item in items[suites.DEVELOPMENT] if not item.expected]
    spoken = rng.sample(silent, len(silent))
    scored = spoken[: round(len(spoken) * _SCORED_SHARE)]
    talk = [item.request for item in spoken[len(scored) :]]
    batches = []
    for number, modules in enumerate(_groups(families, asked, count, size, rng), 1):
        tools = [name for module in modules for name in families[module]]
        own = [item for item in asked if {call.name for call in item.expected} <= set(tools)]
        mixed = rng.sample(own, len(own))
        cut = round(len(mixed) * _SCORED_SHARE)
        texts = [*(item.request for item in mixed[cut:]), *talk[number - 1 :: count]]
        kept = apart(texts, [item.request for item in [*mixed[:cut], *scored]])
        batches.append(
            Batch(
                number=number, modules=tuple(modules), tools=tuple(tools),
                scored=tuple(mixed[:cut]), unlabelled=tuple(rng.sample(kept, len(kept))),
            )
        )  # fmt: skip
    gate = tuple(item for item in items[suites.HELD_OUT] if not item.expected)
    return Plan(batches=tuple(batches), silent=tuple(scored), gate=gate)


def arrivals(batches: int, cycles: int) -> list[int]:
    """Return the cycle before which each of ``batches`` arrives: spread evenly over ``cycles``, the first before 1."""
    return [1 + number * cycles // batches for number in range(batches)]


def apart(texts: Iterable[str], others: Sequence[str]) -> list[str]:
    """Return the ``texts`` that have nearly the words of none of ``others``."""
    known = [_words(other) for other in others]
    return [text for text in texts if all(_overlap(_words(text), words) <= NEAR for words in known)]


def as_suite(name: str, items: Sequence[Item]) -> Suite:
    text = "\n".join(item.model_dump_json() for item in items)
    return Suite(name=name, sha256=hashlib.sha256(text.encode()).hexdigest(), items=tuple(items))


def _groups(
    families: Families, asked: Sequence[Item], count: int, size: int, rng: random.Random
) -> Iterable[list[str]]:
    called = {call.name for item in asked for call in item.expected}
    usable = [module for module in sorted(families) if called & set(families[module])]
    order = rng.sample(usable, len(usable))
    for number in range(1, count + 1):
        group: list[str] = []
        while sum(len(families[module]) for module in group) < size:
            if not order:
                raise UserError(f"the built-in tools are enough for {number - 1} batches of {size}; ask for fewer")
            group.append(order.pop())
        yield group


def _words(text: str) -> frozenset[str]:
    return frozenset(normalised(text).split())


def _overlap(words: frozenset[str], others: frozenset[str]) -> float:
    return len(words & others) / len(words | others) if words | others else 0.0
