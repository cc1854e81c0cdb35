"""Kept single calls -> requests that need two: parallel calls made of verified ones.

Asking a small model for several calls at once gives dirtier labels than composing (71.8 against 66.9 in the
literature). Nothing is generated or executed.
"""

import random
from collections.abc import Sequence

from evolver.lessons.admission import LessonPolicy, reject
from evolver.types import Provenance, Trace, TraceKind, TraceVerdict


def compose(traces: Sequence[Trace], share: float, policy: LessonPolicy, rng: random.Random) -> list[TraceVerdict]:
    """Return judged traces with two calls, at most ``share`` as many as ``traces`` has with one; each pair once."""
    singles = [trace for trace in traces if trace.single]
    if len(singles) < 2:
        return []
    drawn = [rng.sample(singles, 2) for _ in range(round(share * len(singles)))]
    pairs = {(one.id, other.id): (one, other) for one, other in drawn if one.calls_key != other.calls_key}
    return [TraceVerdict.of(trace, reject(trace, policy)) for trace in (_pair(*pair, rng) for pair in pairs.values())]


def _pair(first: Trace, second: Trace, rng: random.Random) -> Trace:
    return Trace(
        id=f"{first.id}+{second.id}",
        kind=TraceKind.PARALLEL,
        request=_joined(first.request, second.request, rng),
        calls=(*first.calls, *second.calls),
        results=(*first.results, *second.results),
        mean_logprob=min(first.mean_logprob, second.mean_logprob),
        provenance=Provenance(model=first.provenance.model, derived_from=first.provenance.derived_from or first.id),
    )


def _joined(first: str, second: str, rng: random.Random) -> str:
    """Two requests as one: one after the other, or as one sentence."""
    if rng.random() < 0.5:
        return f"{first} {second}"
    return f"{first.rstrip('.?!')}{rng.choice((', and ', ' and '))}{_lowered(second)}"


def _lowered(request: str) -> str:
    """``request`` as it stands inside a sentence."""
    return request if request.startswith(("I ", "I'")) else request[0].lower() + request[1:]
