"""Scores: models × suites, from the ledger, and the requests that a model fails, from the files of scores."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.storage.statements import Statements
from dashboard.figures.lineage import is_right
from evolver.cli.score_words import NAMES
from evolver.scores import ItemScore
from evolver.store.jsonl import read_lines

_NEWEST = """
    SELECT at, model, suite, scores FROM evaluations AS one
    WHERE number = (SELECT max(number) FROM evaluations WHERE model = one.model AND suite = one.suite)
    ORDER BY suite, model
"""
_NO_REASON = "another call, or none"
_CALLED = "called a tool where none is needed"


@dataclass(frozen=True)
class Measured:
    """The newest scores of a model on a suite. ``scores`` by name, each a rate or a mean as the ledger has it; ``kl``
    in nats per token where the suite measures a distance."""

    at: float
    model: str
    suite: str
    scores: dict[str, Any]
    kl: float | None


def measured(db: Statements) -> list[Measured]:
    """Return the newest scores of each model on each suite."""
    found = [(at, model, suite, json.loads(text)) for at, model, suite, text in db.execute(_NEWEST).fetchall()]
    return [
        Measured(at, model, suite, {name: scores.get(name) for name in NAMES}, scores.get("kl"))
        for at, model, suite, scores in found
    ]


def failing(data_folder: Path, suite: str, model: str) -> list[ItemScore]:
    """Return the requests of a suite, with its setting, that a model does wrongly (``lineage.scored_suites``)."""
    scores = read_lines(data_folder / "evaluations" / f"{suite}-{model}.jsonl", ItemScore)
    return [score for score in scores if is_right(score) is False]


def reason_of(score: ItemScore) -> str:
    """Return in words what is wrong."""
    if score.reason:
        return score.reason
    return _NO_REASON if score.needs_tool else _CALLED


def reasons(scores: Sequence[ItemScore]) -> list[tuple[str, int]]:
    """Count the mistakes by reason, the most frequent first."""
    return Counter(map(reason_of, scores)).most_common()
