"""Scores over the adapters, from the ledger."""

from dataclasses import dataclass

from agent.storage.statements import Statements
from agent.turn.messages import BASE
from evolver.scores import Rate

_NEWEST = """
    SELECT model, suite, suite_sha256, json_extract(scores, '$.call_accuracy') FROM evaluations AS one
    WHERE number = (
        SELECT max(number) FROM evaluations
        WHERE model = one.model AND suite = one.suite AND (suite_sha256 = one.suite_sha256 OR suite = 'replay')
    ) AND CAST(json_extract(scores, '$.call_accuracy.n') AS integer) > 0
    ORDER BY suite, suite_sha256
"""


@dataclass(frozen=True)
class Curve:
    """Call accuracy on one suite, by model."""

    suite: str
    scores: dict[str, Rate]


@dataclass(frozen=True)
class Learning:
    """The curves of all suites over ``models``, the base model first; ``promoted`` are those that ever served."""

    models: tuple[str, ...]
    curves: tuple[Curve, ...]
    promoted: tuple[str, ...]


def learning(db: Statements) -> Learning:
    """Return the newest score of each model on each suite. Suites of other contents have curves of their own."""
    found: dict[tuple[str, str], dict[str, Rate]] = {}
    for model, suite, sha256, accuracy in db.execute(_NEWEST).fetchall():
        version = "" if suite == "replay" else sha256
        found.setdefault((suite, version), {})[model] = Rate.model_validate_json(accuracy)
    names = [suite for suite, _ in found]
    curves = [
        Curve(suite if names.count(suite) == 1 else f"{suite} {version[:6]}", scores)
        for (suite, version), scores in found.items()
    ]
    adapters = [name for (name,) in db.execute("SELECT name FROM adapters ORDER BY cycle, name").fetchall()]
    promoted = [
        name for (name,) in db.execute("SELECT adapter FROM releases GROUP BY adapter ORDER BY min(number)").fetchall()
    ]
    return Learning((BASE, *adapters), tuple(curves), tuple(name for name in promoted if name != BASE))
