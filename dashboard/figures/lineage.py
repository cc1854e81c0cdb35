"""Adapters: their lineage, and two of them item by item."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.turn.messages import BASE
from evolver.errors import StageError
from evolver.evaluation import suites
from evolver.scores import ItemScore
from evolver.store.jsonl import read_lines
from evolver.store.ledger_rows import AdapterRow
from toolkit.errors import UserError

_EVALUATIONS = "evaluations"


@dataclass(frozen=True)
class Branch:
    """An adapter in the tree, ``depth`` steps from the base model."""

    row: AdapterRow
    depth: int


def tree(rows: Iterable[AdapterRow]) -> list[Branch]:
    """Return the adapters with each below the one that it continues, the oldest first."""
    children: dict[str, list[AdapterRow]] = {}
    ordered = sorted(rows, key=lambda row: (row.cycle, row.name))
    names = {row.name for row in ordered}
    for row in ordered:
        children.setdefault(row.parent if row.parent in names else BASE, []).append(row)

    found: list[Branch] = []
    open_ends = [Branch(row, 1) for row in reversed(children.get(BASE, []))]
    while open_ends:
        branch = open_ends.pop()
        found.append(branch)
        open_ends += [Branch(row, branch.depth + 1) for row in reversed(children.get(branch.row.name, []))]
    return found


@dataclass(frozen=True)
class Pair:
    """A request of a suite, and how two models did; None where one was not asked. ``request`` is "" where the suite
    does not ship."""

    id: str
    request: str
    one: ItemScore | None
    other: ItemScore | None

    @property
    def differs(self) -> bool:
        return is_right(self.one) is not is_right(self.other)


def is_right(score: ItemScore | None) -> bool | None:
    """Return whether the model did what was expected; None where it was not asked or could not be judged."""
    if score is None or score.failed:
        return None
    return score.exact if score.needs_tool else not score.called


def scored_suites(data_folder: Path, model: str) -> set[str]:
    """Return the suites with their settings (``heldout-6c09…``) whose scores of ``model`` are on file."""
    ending = f"-{model}.jsonl"
    return {path.name.removesuffix(ending) for path in (data_folder / _EVALUATIONS).glob(f"*{ending}")}


def compared(data_folder: Path, suite: str, one: str, other: str) -> list[Pair]:
    """Return the requests of ``suite`` (``scored_suites``), those first in which the two models differ."""
    scores = [_scores(data_folder, suite, model) for model in (one, other)]
    requests = request_texts(suite.partition("-")[0])
    ids = list(dict.fromkeys([*scores[0], *scores[1]]))
    pairs = [Pair(name, requests.get(name, ""), scores[0].get(name), scores[1].get(name)) for name in ids]
    return sorted(pairs, key=lambda pair: not pair.differs)


def gains(pairs: Sequence[Pair]) -> tuple[int, int]:
    """Return the number of requests that only the second does correctly, and that only the first does."""
    better = sum(pair.differs and bool(is_right(pair.other)) for pair in pairs)
    worse = sum(pair.differs and bool(is_right(pair.one)) for pair in pairs)
    return better, worse


def _scores(data_folder: Path, suite: str, model: str) -> dict[str, ItemScore]:
    path = data_folder / _EVALUATIONS / f"{suite}-{model}.jsonl"
    return {score.id: score for score in read_lines(path, ItemScore)}


def request_texts(suite: str) -> dict[str, str]:
    """Return the requests of a suite by the ids of its items; empty for one that is not at hand."""
    try:
        return {item.id: item.request for item in suites.read_suite(suite).items}
    except (StageError, UserError, OSError):
        return {}
