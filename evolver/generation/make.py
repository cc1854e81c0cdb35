"""Tools and tasks -> candidate traces, all made by the served model itself.

Each maker is a module of its own: answer_first, small_talk, question_first. What is made here is a claim;
``evolver.verify`` judges it.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from evolver import answer_first
from evolver import small_talk as talking
from evolver.answer_first import AnswerFirst
from evolver.config import MakeConfig
from evolver.effects import for_lessons
from evolver.generate import Generator
from evolver.jsonl import append_lines, read_lines
from evolver.question_first import QuestionFirst, open_requests
from evolver.types import Frozen, Made, Maker, Mined, Trace
from toolkit.execute import Executor
from toolkit.search import ToolIndex
from toolkit.tool import Tool

_Work = Callable[[Counter[str]], list[Trace]]


@dataclass(frozen=True)
class _Job:
    """One batch of one maker. The name with ``-0`` is its first trace's id, so that a resumed run skips what it has."""

    name: str
    maker: Maker
    work: _Work


class _Lost(Frozen):
    """What came to nothing in a job, by reason."""

    job: str
    dropped: dict[str, int]


def make(
    config: MakeConfig,
    tools: Iterable[Tool],
    executor: Executor,
    generator: Generator,
    mined: Mined,
    file: Path,
    *,
    seed: int,
    clock: Callable[[], float] = time.monotonic,
    on_progress: Callable[[float, int], None] = lambda share, traces: None,
) -> Made:
    """Make traces until every tool has ``enough_per_tool`` fit ones or ``calls_per_tool`` calls were sampled for it, or
    ``max_minutes`` are over.

    Appends to ``file`` as it goes; what stands there from an interrupted run is kept and not made again. Raises
    ModelUnavailable, SandboxUnavailable, StageError.
    """
    deadline = clock() + config.max_minutes * 60

    def late() -> bool:
        return clock() > deadline

    def run(job: _Job) -> tuple[list[Trace], Counter[str]]:
        if late():
            return [], Counter({f"{job.maker} out_of_time": 1})
        dropped: Counter[str] = Counter()
        traces = [
            trace.model_copy(update={"id": f"{job.name}-{n}", "made_by": generator.model})
            for n, trace in enumerate(job.work(dropped))
        ]
        return traces, Counter({f"{job.maker} {reason}": count for reason, count in dropped.items()})

    shelf = _Shelf(file)
    shelf.add([trace for trace in mined.worked if trace.id not in shelf.done])
    rounds = -(-config.calls_per_tool // answer_first.BATCH)
    with ThreadPoolExecutor(config.concurrency) as pool:
        for number, jobs in enumerate(_rounds(config, list(tools), executor, generator, mined, shelf, late, seed)):
            running = {pool.submit(run, job): job.name for job in jobs if not shelf.has(job.name)}
            try:
                for finished, future in enumerate(as_completed(running), 1):
                    made, lost = future.result()
                    shelf.add(made, running[future], lost)
                    on_progress((number + finished / len(running)) / rounds, len(shelf.traces))
            finally:
                for future in running:
                    future.cancel()
    on_progress(1.0, len(shelf.traces))
    by_maker = Counter(trace.maker for trace in shelf.traces)
    return Made(file=file, traces=len(shelf.traces), by_maker=dict(by_maker), dropped=shelf.dropped)


class _Shelf:
    """What was made so far, in ``file`` and at hand, and what came to nothing, beside it."""

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
        """By maker and reason."""
        total: Counter[str] = Counter()
        for lost in self._ended.values():
            total.update(lost)
        return dict(total)


def _rounds(
    config: MakeConfig,
    tools: list[Tool],
    executor: Executor,
    generator: Generator,
    mined: Mined,
    shelf: _Shelf,
    late: Callable[[], bool],
    seed: int,
) -> Iterator[list[_Job]]:
    """The jobs of each round: a batch of calls for every tool that has not enough; before the first, all the rest."""
    usable = [tool for tool in tools if for_lessons(tool, allow_reads=config.allow_reads)]
    asker = QuestionFirst(usable, executor, generator, samples=config.question_samples)
    maker = AnswerFirst(config, executor, generator, ToolIndex(tools), late=late)
    chooser = random.Random(seed)
    jobs: list[_Job] = [
        _Job(f"question_first-{task.interaction_id}", "question_first", lambda lost, task=task: asker.make(task, lost))
        for task in open_requests(mined.tasks, config.question_first)
    ]
    jobs += [
        _Job(f"small_talk-{n}", "small_talk", lambda dropped: talking.small_talk(generator))
        for n in range(-(-config.small_talk // talking.BATCH))
    ]
    for batch in range(-(-config.calls_per_tool // answer_first.BATCH)):
        seeds = [chooser.getrandbits(31) for _ in usable]
        jobs += [
            _Job(
                f"{tool.name}-{batch}",
                "answer_first",
                lambda dropped, tool=tool, batch=batch, seed=seed: maker.make(tool, batch, seed, shelf.tools, dropped),
            )
            for tool, seed in zip(usable, seeds, strict=True)
            if not maker.has_enough(tool, shelf.traces)
        ]
        yield jobs
        jobs = []
