"""Kept traces -> the ones worth learning: the active adapter is asked first, and what it does well is set aside.

Lessons about what a model can do already leave less of a training's time for what it cannot. What is set aside stays
right: it may be replayed in this cycle and in later ones.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from agent.turn.messages import BASE
from evolver.config import SelectConfig
from evolver.context import StageContext
from evolver.crew.workshop import Workshop
from evolver.store.jsonl import append_lines, read_lines, write_lines
from evolver.types import Selected, Trace
from toolkit.frozen import Frozen

Likelihood = Callable[[Workshop, Trace], float | None]
"""Log-probability (nats) with which the active adapter makes the calls of a trace; None where it could not be asked."""

ASKED, SELECTED = "asked.jsonl", "selected.jsonl"


class _Asked(Frozen):
    model: str
    trace_id: str
    logprob: float | None


def select(
    context: StageContext, config: SelectConfig, kept: Sequence[Trace], *, model: str, likelihood: Likelihood
) -> Selected:
    """Write selected.jsonl: ``kept`` without the traces whose calls ``model``, which serves, makes with a probability
    above ``known_probability``.

    The base model is not asked: all of ``kept`` are worth learning then. Traces without calls, with messages before
    them or with failures are never set aside. Appends to asked.jsonl as it
    goes, and asks nothing twice. Raises as ``likelihood`` does.
    """
    candidates = () if model == BASE else kept
    asked = [trace for trace in candidates if trace.calls and not trace.history and not trace.failures]
    file = context.folder / ASKED
    found = {line.trace_id: line.logprob for line in read_lines(file, _Asked) if line.model == model}
    missing = [trace for trace in asked if trace.id not in found]
    with closing(context.crew.each(Question(trace, likelihood) for trace in missing)) as answers:
        for done, (number, logprob) in enumerate(answers, 1):
            identity = missing[number].id
            append_lines(file, [_Asked(model=model, trace_id=identity, logprob=logprob)])
            found[identity] = logprob
            context.say(done / len(missing), f"{done} asked")
    known = {trace.id for trace in asked if _probability(found[trace.id]) > config.known_probability}
    chosen = [trace for trace in kept if trace.id not in known]
    write_lines(context.folder / SELECTED, chosen)
    return Selected(
        file=context.folder / SELECTED,
        model=model,
        asked=len(asked),
        known=len(known),
        by_kind=dict(Counter(trace.kind for trace in chosen)),
    )


@dataclass(frozen=True)
class Question:
    """Asks the active adapter about ``trace``."""

    trace: Trace
    likelihood: Likelihood

    def do(self, workshop: Workshop) -> float | None:
        """Return the answer. Raises as ``likelihood`` does."""
        return self.likelihood(workshop, self.trace)


def _probability(logprob: float | None) -> float:
    return 0.0 if logprob is None else math.exp(logprob)
