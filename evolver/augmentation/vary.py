"""Kept traces -> more of them: the model's own wording with other values.

A small model that sees each wording with one set of values learns the values (its first lessons copied dates and
numbers of the training set into answers). Values are known ones of the tool where it has them, else those of its other
calls and invented ones of the parameter's kind. Half of the other numbers, dates and times get fresh digits. Parameters
of one kind share their values, so that only the wording tells which is which. Every varied call is executed twice. A
varied request must pass the checks that its source passed, except the round trip, which judged the wording
(docs/decisions/0007). One more variant of a call names several values, where that asks for several calls
(docs/decisions/0085).
"""

import random
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice

from pydantic import JsonValue

from agent.text.matching import normalised
from evolver.augmentation.several import several
from evolver.augmentation.values import Values, values_for
from evolver.config import VaryConfig
from evolver.context import StageContext
from evolver.crew.workshop import Workshop
from evolver.lessons import reexecution
from evolver.lessons.admission import reject
from evolver.lessons.drop_reason import DropReason
from evolver.store.cycle_folder import UNFIT_VARIANTS
from evolver.store.jsonl import write_lines
from evolver.text.value_spans import answer_with, is_spoken, places, replaced, said
from evolver.types import Call, Trace, TraceVerdict, Varied

_TRIES = 4
"""Draws of other values for each variant that is wanted."""


def vary(context: StageContext, config: VaryConfig, kept: Sequence[Trace], made: Iterable[Trace]) -> Varied:
    """Write variants of the kept single calls to varied.jsonl.

    Of each call up to ``per_value`` for each value that it states, because the more it states, the more there is to
    confuse. Values come from ``made``. What was dropped goes with its verdict to a file beside that one. Raises
    SandboxUnavailable.
    """
    orders = _orders(context, config, kept, made)
    sources, done, count = sum(len(order.sources) for order in orders), 0, 0
    found: dict[str, list[TraceVerdict]] = {}
    with closing(context.crew.each(orders)) as ended:
        for number, variants in ended:
            found |= variants
            done += len(orders[number].sources)
            count += sum(one.verdict.kept for each in variants.values() for one in each)
            context.say(done / sources, f"{count} more")
    judged = [one for source in kept for one in found.get(source.id, ())]
    fit = [one.trace for one in judged if one.verdict.kept]
    unfit = [one for one in judged if not one.verdict.kept]
    file = context.folder / "varied.jsonl"
    write_lines(file, fit)
    write_lines(file.with_name(UNFIT_VARIANTS), unfit)
    return Varied(file=file, traces=len(fit), dropped=dict(Counter(one.verdict.reason for one in unfit)))


@dataclass(frozen=True)
class VaryOrder:
    """Makes variants of ``sources``, kept traces of one tool; of each up to ``per_value`` for every value it states.

    ``seen`` are the normal forms of requests for the tool that are known.
    """

    sources: tuple[Trace, ...]
    per_value: int
    values: Values
    seen: frozenset[str]
    seed: int

    def do(self, workshop: Workshop) -> dict[str, list[TraceVerdict]]:
        """Return the variants by the id of their source, each with its verdict. Raises SandboxUnavailable."""
        variants = _Variants(workshop, self)
        return {source.id: variants.of(source) for source in self.sources}


def _orders(context: StageContext, config: VaryConfig, kept: Sequence[Trace], made: Iterable[Trace]) -> list[VaryOrder]:
    """One order for each tool: in other words than those of its own traces nobody asks for it."""
    rng = random.Random(context.seed)
    values = values_for(made, context.tools, rng)
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for trace in chain(context.earlier, kept):
        for call in trace.calls:
            seen[call.name].add(normalised(trace.request))
    sources: defaultdict[str, list[Trace]] = defaultdict(list)
    for trace in kept:
        if len(trace.calls) == 1 and not trace.provenance.interaction_id and trace.client_turn is None:
            sources[trace.calls[0].name].append(trace)
    return [
        VaryOrder(tuple(traces), config.per_value, values.of(tool), frozenset(seen[tool]), rng.getrandbits(31))
        for tool, traces in sources.items()
    ]


class _Variants:
    """Variants of the traces of one tool."""

    def __init__(self, workshop: Workshop, order: VaryOrder) -> None:
        self._workshop, self._per_value, self._values = workshop, order.per_value, order.values
        self._seen, self._rng = set(order.seen), random.Random(order.seed)

    def of(self, source: Trace) -> list[TraceVerdict]:
        """Return variants of ``source`` with other values, and one of it or of them that names several values."""
        wanted, found, judged = self._per_value * _spoken(source), [source], list[TraceVerdict]()
        for request, call in islice(_drafts(source, self._values, self._rng), wanted * _TRIES):
            draft = _variant(source, len(found), request, call)
            judged.append(self._judged(*_checked(draft, source, self._seen, self._workshop)))
            if judged[-1].verdict.kept:
                found.append(judged[-1].trace)
            if len(found) > wanted:
                break
        draft = several(self._rng.choice(found), self._values, self._workshop.executor.registry, self._rng)
        if wanted and draft is not None:
            judged.append(self._judged(*_executed(draft, self._seen, self._workshop)))
        return judged

    def _judged(self, draft: Trace, reason: DropReason | None) -> TraceVerdict:
        if reason is None:
            self._seen.add(normalised(draft.request))
        return TraceVerdict.of(draft, reason)


def _executed(draft: Trace, seen: Collection[str], workshop: Workshop) -> tuple[Trace, DropReason | None]:
    """Return ``draft``, a trace of several calls, with their results, and the reason to drop it."""
    if normalised(draft.request) in seen:
        return draft, DropReason.DUPLICATE
    if reason := reject(draft, workshop.policy):
        return draft, reason
    executor = workshop.executor
    results = [reexecution.execute(call, executor) for call in draft.calls]
    for call, result in zip(draft.calls, results, strict=True):
        if reason := reexecution.reject_execution(call, executor, (result.value,)):
            return draft, reason
    return draft.model_copy(update={"results": tuple(result.value for result in results)}), None


def _spoken(source: Trace) -> int:
    return sum(map(is_spoken, source.calls[0].arguments.values()))


def _variant(source: Trace, number: int, request: str, call: Call) -> Trace:
    changed = {"id": f"{source.id}-v{number}", "request": request, "calls": (call,)}
    return source.model_copy(update=changed).sourced(derived_from=source.provenance.derived_from or source.id)


def _drafts(source: Trace, values: Values, rng: random.Random) -> Iterator[tuple[str, Call]]:
    """The request of ``source`` with other values in place, and the call that states them, again and again; none where
    the values cannot be told apart in it."""
    (call,) = source.calls
    spoken = {name: value for name, value in call.arguments.items() if is_spoken(value)}
    found_at = places(source.request, spoken)
    if not found_at or len(found_at) < len(spoken):
        return
    while True:
        arguments = dict(call.arguments)
        for name in spoken:
            arguments[name] = values.other(call.name, name, call.arguments[name], rng)
        texts = {name: _written(arguments[name], source.request, i, j, rng) for i, j, name in found_at}
        yield replaced(source.request, found_at, texts), Call(name=call.name, arguments=arguments)


def _written(value: JsonValue, request: str, start: int, stop: int, rng: random.Random) -> str:
    """Nobody writes "four%"."""
    return said(value, None if request[stop:].startswith("%") else rng, like=request[start:stop])


def _checked(draft: Trace, source: Trace, seen: Collection[str], workshop: Workshop) -> tuple[Trace, DropReason | None]:
    """``draft`` with its result and the answer that tells it, and the reason to drop it."""
    # Only equal words are too much: "two" for "2", and "a, b and c" for "a, b, c", are lessons in copying.
    if normalised(draft.request) in seen:
        return draft, DropReason.DUPLICATE
    if reason := reject(draft.model_copy(update={"results": (), "answer": ""}), workshop.policy):
        return draft, reason
    (call,), executor = draft.calls, workshop.executor
    first = reexecution.execute(call, executor)
    if reason := reexecution.reject_execution(call, executor, (first.value,)):
        return draft, reason
    answer = answer_with(source, call, first.value) if source.answer and first.ok else ""
    draft = draft.model_copy(update={"results": (first.value,) if first.ok else (), "answer": answer})
    return draft, reject(draft, workshop.policy)
