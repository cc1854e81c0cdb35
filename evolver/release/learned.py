"""Lessons of an adapter, as the folders of its cycles hold them."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from agent.turn.messages import BASE
from evolver.store.cycle_folder import cycle_folder
from evolver.store.dataset_files import TRAIN, folder_sha256
from evolver.store.jsonl import iter_lines
from evolver.store.ledger import Ledger
from evolver.types import Provenance
from toolkit.frozen import Frozen


class Learned(Frozen):
    """Lessons of an adapter and of those that it continues. ``tools``: how many lessons call each, most first.

    ``logged``: lessons that come from turns in the interaction log. ``unknown``: adapters whose lessons are not on disk
    as they were learned, so that nobody can tell: deleted, or with turns forgotten since, or of an earlier version.
    """

    lessons: int
    logged: int
    tools: dict[str, int]
    unknown: tuple[str, ...]


class _Row(Frozen):
    """Fields of a line of train.jsonl that are read here."""

    model_config = ConfigDict(extra="ignore")

    messages: list[dict[str, Any]]
    targets: list[int]
    provenance: Provenance | None = None
    """None: the row is of a version that did not write it so."""


def learned(data_folder: Path, ledger: Ledger, name: str) -> Learned:
    """Return the lessons and tools that ``name`` was trained on; ``unknown`` names adapters without a full record."""
    lessons = logged = 0
    tools: Counter[str] = Counter()
    unknown = []
    for adapter, cycle in _line(ledger, name):
        rows = list(iter_lines(cycle_folder(data_folder, cycle) / "dataset" / TRAIN, _Row)) if cycle else []
        if not rows or not _as_learned(data_folder, ledger, adapter) or any(row.provenance is None for row in rows):
            unknown.append(adapter)
        for row in rows:
            lessons += 1
            logged += bool(row.provenance and row.provenance.interactions)
            tools.update(_called(row))
    return Learned(lessons=lessons, logged=logged, tools=dict(tools.most_common()), unknown=tuple(unknown))


def _as_learned(data_folder: Path, ledger: Ledger, name: str) -> bool:
    """Return whether the dataset of ``name`` is the one that it learned: ``forget`` takes lines out of it."""
    row = ledger.adapter(name)
    if row is None:
        return False
    dataset = cycle_folder(data_folder, row.cycle) / "dataset"
    return dataset.is_dir() and row.dataset_sha256 == folder_sha256(dataset)


def _line(ledger: Ledger, name: str) -> Iterator[tuple[str, int]]:
    """Yield the adapter and those that it continues, each with its cycle; 0 where the ledger does not know it."""
    rows = {row.name: row for row in ledger.adapters()}
    while name != BASE:
        row = rows.pop(name, None)
        yield name, row.cycle if row else 0
        name = row.parent if row else BASE


def _called(row: _Row) -> set[str]:
    taught = [row.messages[place] for place in row.targets if place < len(row.messages)]
    return {call["function"]["name"] for message in taught for call in message.get("tool_calls") or ()}
