"""Checks of traces one by one: by their texts, and by executing their calls again."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from evolver.context import StageContext
from evolver.crew.workshop import Workshop
from evolver.lessons import client_turn, reexecution
from evolver.lessons.admission import LessonPolicy, reject
from evolver.lessons.drop_reason import DropReason
from evolver.lessons.duplicates import Accepted
from evolver.types import Trace
from toolkit.execute import Executor


@dataclass(frozen=True)
class CheckTrace:
    """Checks ``trace`` by itself: by its text, and by executing its calls again."""

    trace: Trace

    def do(self, workshop: Workshop) -> tuple[Trace, DropReason | None]:
        """Return the trace, with the results of what a person expected, and the reason to drop it, or None."""
        executor, policy = workshop.executor, workshop.policy
        trace = reexecution.with_results(self.trace, executor, partial(policy.runs, self.trace))
        return trace, reject(trace, policy) or _execution(trace, executor, policy)


def check_traces(
    context: StageContext, accepted: Accepted, traces: Sequence[Trace]
) -> Generator[tuple[Trace, DropReason | None]]:
    """Yield ``traces`` in their order, each with the reason to drop it, or None; of one that repeats what is
    ``accepted`` by then, nothing else is asked."""
    asked: list[int] = []
    known: dict[int, tuple[Trace, DropReason | None]] = {}

    def orders() -> Iterator[CheckTrace]:
        for place, trace in enumerate(traces):
            if accepted.repeated_by(trace) is None:
                asked.append(place)
                yield CheckTrace(trace)
            else:
                known[place] = trace, None

    place = 0
    with closing(context.crew.each(orders())) as found:
        for number, verdict in found:
            known[asked[number]] = verdict
            while place in known:
                yield known.pop(place)
                place += 1
    yield from (known[place] for place in sorted(known))


def _execution(trace: Trace, executor: Executor, policy: LessonPolicy) -> DropReason | None:
    """Calls run again and must return the same, or fail again; of tools that may not run, what the log has stands."""
    for failure in trace.failures:
        if policy.runs(trace, failure.call.name) and reexecution.execute(failure.call, executor).ok:
            return DropReason.FAILURE_IS_GONE
    for number, call in enumerate(trace.calls):
        if trace.client_turn is not None and not policy.runs(trace, call.name):
            if reason := client_turn.problem(policy.tool_of(trace, call.name), call.arguments):
                return reason
            continue
        tool = executor.registry.get(call.name)
        if trace.provenance.interaction_id and tool is not None and not policy.may_run(tool):
            if executor.problem(tool, call.arguments) is not None:
                return DropReason.CALL_INVALID_ARGUMENTS
            continue
        if reason := reexecution.reject_execution(call, executor, trace.results[number : number + 1]):
            return reason
    return None
