"""Learning against rejected calls, for the benchmarks: what serves is asked first, and where it errs, it unlearns that.

From the second cycle on, what serves answers each new request of one call that is learned. Its call is executed: where
it fails or returns something else, the lessons of that request hold it as rejected, and so they do failed calls of a
repaired turn. Training then adds a pairwise term on the token where the two calls part (evolver/training/loss.py). It
costs one answer per request; training computes nothing more.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.adapters import active
from agent.turn.messages import BASE, Message
from agent.turn.prompt import to_openai
from evolver.config import Config
from evolver.context import StageContext
from evolver.crew.crew import results
from evolver.crew.workshop import Workshop
from evolver.cycle import run
from evolver.lessons.reexecution import execute
from evolver.mining.uncertainty import SampleOrder
from evolver.store.dataset_files import TRAIN, VALID, folder_sha256, write_dataset
from evolver.store.jsonl import read_lines, write_lines
from evolver.types import Call, Dataset, Trace
from toolkit.frozen import Frozen
from toolkit.tool import Effect, ToolCall

FILE = "rejected.jsonl"
WEIGHT = 1.0
"""Of a pair, where a target token of a lesson has 1."""


class Rejected(Frozen):
    """A wrong call for the request of a trace."""

    trace_id: str
    call: Call


@contextmanager
def learning_against_rejected(config: Config) -> Iterator[None]:
    """Let the cycles of this process add rejected calls to their lessons while the block runs."""
    plain = run.build

    def build(context: StageContext, settings: Any, kept: Sequence[Trace], **rest: Any) -> Dataset:
        return with_rejected(plain(context, settings, kept, **rest), rejected(context, config, kept))

    run.build = build
    try:
        yield
    finally:
        run.build = plain


def rejected(context: StageContext, config: Config, traces: Sequence[Trace]) -> list[Rejected]:
    """Return the rejected calls for the requests of ``traces``, and write them to FILE in the cycle's folder. Raises
    ModelUnavailable and SandboxUnavailable."""
    found = [
        Rejected(trace_id=trace.id, call=failure.call)
        for trace in traces
        if len(trace.calls) == 1
        for failure in trace.failures
    ]
    model = active.read(config.data_folder).name
    asked = [] if model == BASE else [trace for trace in traces if _is_asked(trace)]
    orders = [
        Answer(trace, SampleOrder(trace.request, model, config.agent.prompt, config.evolver.evaluate.max_tokens))
        for trace in asked
    ]
    said = zip(asked, results(context.crew, orders), strict=True)
    found += [Rejected(trace_id=trace.id, call=call) for trace, call in said if call is not None]
    write_lines(context.folder / FILE, found)
    return found


def _is_asked(trace: Trace) -> bool:
    plain = not trace.history and trace.client_turn is None and not trace.provenance.derived_from
    return plain and len(trace.calls) == 1 == len(trace.results)


@dataclass(frozen=True)
class Answer:
    """Asks what serves for the call of ``trace``."""

    trace: Trace
    sample: SampleOrder

    def do(self, workshop: Workshop) -> Call | None:
        """Return its call where that is wrong; None where it is right, and where it makes none."""
        said = self.sample.do(workshop)
        if said is None:
            return None
        name, arguments = json.loads(said)
        call = Call(name=name, arguments=arguments)
        return None if _agrees(call, self.trace, workshop) else call


def _agrees(call: Call, trace: Trace, workshop: Workshop) -> bool:
    """Return whether ``call`` is the trace's, or one of a pure tool that returns the same."""
    if call == trace.calls[0]:
        return True
    tool = workshop.executor.registry.get(call.name)
    if tool is None or tool.effect is not Effect.PURE:
        return False
    result = execute(call, workshop.executor)
    return result.error is None and (result.value,) == trace.results


def with_rejected(made: Dataset, found: Sequence[Rejected]) -> Dataset:
    """Write the rejected calls into the rows of ``made`` that teach the call of their trace under its tool's own name,
    and show the rejected one's tool; return the dataset as it is then."""
    calls: defaultdict[str, list[Call]] = defaultdict(list)
    for one in found:
        if one.call not in calls[one.trace_id]:
            calls[one.trace_id].append(one.call)
    rows = {name: _rows(made.folder / name) for name in (TRAIN, VALID)}
    train = [_against(row, calls) for row in rows[TRAIN]]
    if train == rows[TRAIN]:
        return made
    write_dataset(made.folder, train=train, valid=rows[VALID])
    return made.model_copy(update={"sha256": folder_sha256(made.folder)})


def _rows(file: Path) -> list[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _against(row: dict[str, Any], calls: Mapping[str, Sequence[Call]]) -> dict[str, Any]:
    """Return ``row`` with those of the rejected ``calls`` of its trace that its context allows. Contexts under other
    names show none of the tools."""
    shown = {tool["function"]["name"] for tool in row["tools"]}
    wrong = [call for call in calls.get(row["trace"], ()) if call.name in shown]
    if row["decision"] != "call" or not wrong:
        return row
    messages = [
        Message(role="assistant", tool_calls=(ToolCall(id="rejected", name=call.name, arguments=call.arguments),))
        for call in wrong
    ]
    return row | {"rejected": to_openai(messages), "rejected_weight": WEIGHT}


def count(folder: Path) -> int:
    """Return how many rejected calls the cycle in ``folder`` found."""
    return len(read_lines(folder / FILE, Rejected))
