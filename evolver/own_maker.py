"""The maker's own adapter: learned from what earlier cycles made and kept, and used where it yields more.

ToolACE-DEV trains what makes and what solves apart, each on its own tasks (arXiv 2505.07512); weights that both share
cost Tool-R0 17 points. Each cycle learns its maker anew from the base model, tries it against that, and lets it make
only if more of what it makes is kept. No ledger knows it, so that nothing can promote it, and it goes with its cycle
(docs/decisions/0048).

A lesson is a text that a maker continues, with the continuation that passed every check: a tool and a call of it that
worked; a call and the request that led back to it; where tools are defined or written, words and the definition.
People's turns and tools that were written for one are not among them, so that there is nothing to forget.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

from agent.errors import AdapterError
from evolver import few_shots
from evolver.answer_first import WRITTEN, AnswerFirst
from evolver.config import MakeConfig
from evolver.dataset_folder import publish
from evolver.definitions import in_words, true_definition
from evolver.effects import for_lessons
from evolver.errors import StageError, disk_is_full
from evolver.generate import Generator
from evolver.jsonl import append_lines, read_lines
from evolver.tool_makers import wanted
from evolver.tool_shots import definition_prompt
from evolver.types import Adapter, OwnMaker, Rate, Trace, Verified
from evolver.wilson import rate
from toolkit.execute import Executor
from toolkit.registry import ToolRegistry
from toolkit.search import ToolIndex

Lesson = dict[str, object]
"""A row for the trainer: ``prompt`` and ``completion`` as they are, without the chat template."""

FEWEST_LESSONS = 100
"""Below, an adapter learns these by heart."""
_HELD_BACK = 0.15


def learn(
    config: MakeConfig,
    earlier: Sequence[Trace],
    executor: Executor,
    folder: Path,
    *,
    seed: int,
    made_tools: Collection[str] = (),
    base: Generator,
    train: Callable[[Path], Adapter],
    asking: Callable[[Adapter], AbstractContextManager[Generator]],
    judged: Callable[[Sequence[Trace], Path], Verified],
) -> OwnMaker:
    """Train a maker on the traces that ``earlier`` cycles kept, but those of ``made_tools``, and try it.

    ``train`` makes an adapter of a dataset folder, ``asking`` gives its Generator while it is loaded, ``judged`` is
    verification, which writes into a folder. What fails in these is told in the result, and the base model makes; a
    full disk, and what ``make`` raises, is raised.
    """
    tools = ToolRegistry(tool for tool in executor.registry if tool.name not in made_tools)
    learned, held = lessons(earlier, tools, seed=seed, definitions=wanted(config))
    if len(learned) < FEWEST_LESSONS:
        return OwnMaker(lessons=len(learned))
    publish(folder / "lessons", train=learned, valid=held)
    try:
        adapter = train(folder / "lessons")
        with asking(adapter) as own:
            base_yield, own_yield = (
                _yield(config, executor, maker, folder / who, judged, seed=seed)
                for who, maker in (("base", base), ("own", own))
            )
    except (StageError, AdapterError) as error:
        if disk_is_full(error):
            raise
        return OwnMaker(lessons=len(learned), problem=str(error))
    return OwnMaker(lessons=len(learned), adapter=adapter, base=base_yield, own=own_yield)


def lessons(
    earlier: Sequence[Trace], tools: ToolRegistry, *, seed: int, definitions: bool = False
) -> tuple[list[Lesson], list[Lesson]]:
    """What is learned, and what is held back for validation: all wordings of a call are on one side."""
    by_call: dict[str, list[Trace]] = {}
    for trace in earlier:
        if trace.maker == "answer_first" and not trace.source and tools.get(trace.calls[0].name) is not None:
            by_call.setdefault(trace.calls_key, []).append(trace)
    groups = [_of_call(number, traces, tools) for number, traces in enumerate(by_call.values())]
    if definitions:
        groups += [[_lesson(f"definition-{n}", *pair)] for n, pair in enumerate(_definitions(tools))]
    random.Random(seed).shuffle(groups)
    cut = round(len(groups) * _HELD_BACK)
    return [row for group in groups[cut:] for row in group], [row for group in groups[:cut] for row in group]


def _of_call(number: int, traces: Sequence[Trace], tools: ToolRegistry) -> list[Lesson]:
    (call,) = traces[0].calls
    tool = tools.get(call.name)
    assert tool is not None
    arguments = few_shots.arguments_prompt(tool), json.dumps(call.arguments, ensure_ascii=False)
    requests = [(few_shots.request_prompt(tool, call), f" {trace.request}") for trace in traces]
    return [_lesson(f"call-{number}-{n}", *pair) for n, pair in enumerate([arguments, *requests])]


def _definitions(tools: ToolRegistry) -> Iterable[tuple[str, str]]:
    for tool in tools:
        truth = true_definition(tool)
        if truth is not None:
            yield definition_prompt(in_words(tool)), f" {json.dumps(truth.model_dump(), ensure_ascii=False)}"


def _lesson(identity: str, prompt: str, completion: str) -> Lesson:
    return {"id": identity, "prompt": prompt, "completion": completion}


def _yield(
    config: MakeConfig,
    executor: Executor,
    generator: Generator,
    folder: Path,
    judged: Callable[[Sequence[Trace], Path], Verified],
    *,
    seed: int,
) -> Rate:
    """How many calls ``generator`` brings through every check, of those that may be written for; the tools and what
    they are asked are the same for whoever is tried."""
    chooser = random.Random(seed)
    usable = [tool for tool in executor.registry if for_lessons(tool, allow_reads=config.allow_reads)]
    tried = chooser.sample(usable, min(config.trial_tools, len(usable)))
    jobs = [(tool, chooser.getrandbits(31)) for tool in tried]
    maker = AnswerFirst(config, executor, generator, ToolIndex(executor.registry), late=lambda: False)
    with ThreadPoolExecutor(generator.concurrency) as pool:
        made = list(pool.map(lambda job: maker.make(job[0], 0, job[1], (), Counter()), jobs))
    traces = [
        trace.model_copy(update={"id": f"{tool.name}-{n}", "made_by": generator.model})
        for tool, of_tool in zip(tried, made, strict=True)
        for n, trace in enumerate(of_tool)
    ]
    traces_file = folder / "traces.jsonl"
    traces_file.unlink(missing_ok=True)
    append_lines(traces_file, traces)
    kept = {trace.calls_key for trace in read_lines(judged(traces, folder).file, Trace)}
    return rate(len(kept), WRITTEN * len(tried))
