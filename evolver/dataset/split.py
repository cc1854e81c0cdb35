"""Split of traces into those that are learned and those held back for validation. Pure."""

import random
from collections.abc import Sequence

from evolver.config import DatasetConfig
from evolver.types import Trace
from toolkit.frozen import Frozen


class Split(Frozen):
    """The traces that are ``learned`` and those ``held`` back; ``replayed`` of them are from earlier cycles."""

    learned: tuple[Trace, ...]
    held: tuple[Trace, ...]
    replayed: int


def split(
    config: DatasetConfig, kept: Sequence[Trace], replay: Sequence[Trace], rng: random.Random, *, refill: int = 0
) -> Split:
    """Divide ``kept`` and, as ``replay_share`` of all and ``refill`` more, traces of ``replay``, as far as there are
    enough.

    A trace stands on the side of its variants, of other wordings of its call, and of other requests of its session:
    none is learned and validated. The families differ from cycle to cycle, so that none is never learned.
    """
    pool, replayed = _with_replay(config, kept, replay, rng, refill)
    family_of = _families(pool)
    families = list(dict.fromkeys(family_of.values()))
    rng.shuffle(families)
    held = set(families[: round(len(families) * config.validation_share)])
    sides: tuple[list[Trace], list[Trace]] = [], []
    for trace in rng.sample(list(pool), len(pool)):
        sides[family_of[_wording(trace)] in held].append(trace)
    return Split(learned=tuple(sides[0]), held=tuple(sides[1]), replayed=replayed)


def _with_replay(
    config: DatasetConfig, kept: Sequence[Trace], replay: Sequence[Trace], rng: random.Random, refill: int
) -> tuple[list[Trace], int]:
    old = list(replay)
    rng.shuffle(old)
    wanted = refill + max(round(len(kept) * config.replay_share / max(1 - config.replay_share, 0.01)), 0)
    taken = {trace.id for trace in kept}
    again = []
    for n, trace in enumerate(old[:wanted]):
        source = trace.provenance.derived_from
        renamed = trace.model_copy(update={"id": f"{trace.id}~{n}"}).sourced(derived_from=source and f"{source}~{n}")
        again.append(renamed if trace.id in taken else trace)
        taken.add(trace.id)
    return [*kept, *again], len(again)


def _families(pool: Sequence[Trace]) -> dict[str, str]:
    """The family of each trace that is no variant: those of one call, and those of one session, are one family."""
    above: dict[str, str] = {}

    def head(name: str) -> str:
        while (upper := above.setdefault(name, name)) != name:
            name = upper
        return name

    for trace in pool:
        root = head(_wording(trace))
        if trace.provenance.derived_from:
            continue
        if trace.calls:
            above[head(trace.calls_key)] = head(root)
        if trace.provenance.session:
            above[head(f"session {trace.provenance.session}")] = head(root)
    return {_wording(trace): head(_wording(trace)) for trace in pool}


def _wording(trace: Trace) -> str:
    """The id of the trace whose wording it has."""
    return trace.provenance.derived_from or trace.id
