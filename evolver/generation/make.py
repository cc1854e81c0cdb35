"""Tools and tasks -> candidate traces, all made by the served model itself.

Each kind of trace is made in a module of its own. What is made here is a claim;
``evolver.verification.verify`` judges it.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from evolver.config import MakeConfig
from evolver.context import StageContext
from evolver.crew.workshop import Workshop
from evolver.generation import back_translation
from evolver.generation.back_translation import Batch, has_enough
from evolver.generation.client_calls import ClientCalls
from evolver.generation.no_tool_requests import NoToolRequests
from evolver.generation.self_consistency import Vote, open_requests
from evolver.lessons.client_tools import ClientTool
from evolver.lessons.drop_reason import DropReason
from evolver.store.jsonl import append_lines, read_lines
from evolver.types import Made, Mined, Trace, TraceKind
from toolkit.frozen import Frozen


class _Work(Protocol):
    """Frozen value that makes the traces of a job."""

    def make(self, workshop: Workshop, dropped: Counter[DropReason], late: Callable[[], bool]) -> list[Trace]: ...


@dataclass(frozen=True)
class _Job:
    """One batch of traces of one kind. The name with ``-0`` is the id of the first, by which a resumed run skips it."""

    name: str
    kind: TraceKind
    work: _Work


@dataclass(frozen=True)
class MakeOrder:
    """A job, to be done while there are ``seconds`` left: a deadline would mean another moment on another machine."""

    job: _Job
    seconds: float

    def do(self, workshop: Workshop) -> tuple[list[Trace], Counter[str]]:
        """Return the traces that are made, and the losses by kind and reason. Raises as Generator and Executor do."""
        kind, deadline = self.job.kind, time.monotonic() + self.seconds
        if self.seconds < 0:
            return [], Counter({f"{kind} {DropReason.OUT_OF_TIME}": 1})
        dropped: Counter[DropReason] = Counter()
        made = self.job.work.make(workshop, dropped, lambda: time.monotonic() > deadline)
        traces = [
            trace.model_copy(update={"id": f"{self.job.name}-{n}"}).sourced(model=workshop.generator.model)
            for n, trace in enumerate(made)
        ]
        return traces, Counter({f"{kind} {reason}": count for reason, count in dropped.items()})


class _Lost(Frozen):
    """Losses of a job, by reason."""

    job: str
    dropped: dict[str, int]


def make(
    context: StageContext,
    config: MakeConfig,
    mined: Mined,
    *,
    clients: Sequence[ClientTool] = (),
    clock: Callable[[], float] = time.monotonic,
) -> Made:
    """Make traces, for each of the ``clients``' tools once, and until every other tool has ``enough_per_tool`` fit ones
    or ``calls_per_tool`` calls were sampled for it, or ``max_minutes`` are over.

    Appends to traces.jsonl as it goes; what stands there from an interrupted run is kept and not made again. Raises
    ModelUnavailable, SandboxUnavailable, StageError.
    """
    deadline = clock() + config.max_minutes * 60
    file = context.folder / "traces.jsonl"
    shelf = _Shelf(file)
    shelf.add([trace for trace in mined.worked if trace.id not in shelf.done])
    rounds = -(-config.calls_per_tool // back_translation.BATCH)
    for number, jobs in enumerate(_rounds(context, config, mined, clients, shelf)):
        missing = [job for job in jobs if not shelf.has(job.name)]
        orders = (MakeOrder(job, deadline - clock()) for job in missing)
        with closing(context.crew.each(orders)) as found:
            for finished, (place, (made, lost)) in enumerate(found, 1):
                shelf.add(made, missing[place].name, lost)
                context.say((number + finished / len(missing)) / rounds, f"{len(shelf.traces)} traces")
    context.say(1.0, f"{len(shelf.traces)} traces")
    by_kind = Counter(trace.kind for trace in shelf.traces)
    return Made(file=file, traces=len(shelf.traces), by_kind=dict(by_kind), dropped=shelf.dropped)


class _Shelf:
    """Traces made so far, in ``file`` and at hand, and the losses beside it."""

    def __init__(self, file: Path) -> None:
        self._file, self._losses = file, file.with_name("lost.jsonl")
        self.traces = read_lines(file, Trace)
        self.done = {trace.id for trace in self.traces}
        self.tools = {call.name for trace in self.traces for call in trace.calls}
        self._ended = {lost.job: lost.dropped for lost in read_lines(self._losses, _Lost)}

    def has(self, job: str) -> bool:
        return f"{job}-0" in self.done or job in self._ended

    def add(self, traces: Sequence[Trace], job: str = "", lost: Mapping[str, int] | None = None) -> None:
        append_lines(self._file, traces)
        self.traces += traces
        self.tools |= {call.name for trace in traces for call in trace.calls}
        if lost:
            append_lines(self._losses, [_Lost(job=job, dropped=dict(lost))])
            self._ended[job] = dict(lost)

    @property
    def dropped(self) -> dict[str, int]:
        """Count the losses by kind and reason."""
        total: Counter[str] = Counter()
        for lost in self._ended.values():
            total.update(lost)
        return dict(total)


def _rounds(
    context: StageContext, config: MakeConfig, mined: Mined, clients: Sequence[ClientTool], shelf: _Shelf
) -> Iterator[list[_Job]]:
    """The jobs of each round: a batch of calls for every tool that has not enough; before the first, all the rest."""
    policy, kind = context.policy, TraceKind.BACK_TRANSLATION
    usable = [tool for tool in context.tools if policy.may_run(tool)]
    rng = random.Random(context.seed)
    jobs = [*_logged_requests(config, mined), *_no_tool_requests(config)]
    jobs += _client_calls(config, clients, context.seed)
    for batch in range(-(-config.calls_per_tool // back_translation.BATCH)):
        seeds = [rng.getrandbits(31) for _ in usable]
        for tool, seed in zip(usable, seeds, strict=True):
            if not has_enough(config, policy, tool, shelf.traces):
                # A small model says nothing but the examples in a tool's own description: they are for when all else
                # failed.
                work = Batch(config, tool.name, seed, examples=batch > 0 and tool.name not in shelf.tools)
                jobs.append(_Job(f"{tool.name}-{batch}", kind, work))
        yield jobs
        jobs = []


def _logged_requests(config: MakeConfig, mined: Mined) -> Iterator[_Job]:
    kind = TraceKind.SELF_CONSISTENCY
    for task in open_requests(mined.tasks, config.self_consistency_requests):
        yield _Job(f"{kind}-{task.interaction_id}", kind, Vote(task, config.self_consistency_samples))


def _client_calls(config: MakeConfig, clients: Sequence[ClientTool], seed: int) -> Iterator[_Job]:
    for number, client in enumerate(clients):
        name = f"client-{client.identity}-{number}"
        yield _Job(name, TraceKind.BACK_TRANSLATION, ClientCalls(config, client, seed + number))


def _no_tool_requests(config: MakeConfig) -> Iterator[_Job]:
    kind = TraceKind.NO_TOOL
    for number in range(-(-config.no_tool_requests // NoToolRequests.BATCH)):
        yield _Job(f"{kind}-{number}", kind, NoToolRequests())
