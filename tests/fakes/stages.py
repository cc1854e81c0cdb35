"""What stages are given, made with few words."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from evolver.config import DatasetConfig
from evolver.context import Say, StageContext
from evolver.crew.local import LocalCrew
from evolver.crew.workshop import Rules, Workshop
from evolver.cycle.report import CycleReport, V
from evolver.cycle.stages import Stage
from evolver.dataset.build import build
from evolver.lessons.admission import LessonPolicy
from evolver.types import Dataset, Trace
from tests.fakes.sandbox import InProcessSandbox
from toolkit.execute import Executor
from toolkit.registry import ToolRegistry
from toolkit.search import ToolIndex
from toolkit.tool import Tool


class HeldOutTexts:
    """The requests, and the descriptions of tools, that are held out."""

    names = ("tiny",)

    def __init__(
        self,
        requests: Callable[[str], bool] = lambda request: False,
        tools: Callable[[str], bool] = lambda description: False,
    ) -> None:
        self._requests, self._tools = requests, tools

    def __call__(self, request: str) -> bool:
        return self._requests(request)

    def tool(self, description: str) -> bool:
        return self._tools(description)


def policy(
    tools: ToolRegistry, *, held_out: Callable[[str], bool] = lambda request: False, **rest: Any
) -> LessonPolicy:
    """A policy for lessons with ``tools``; what ``held_out`` says stands in a suite."""
    return LessonPolicy(tools=tools, index=ToolIndex(tools), held_out=HeldOutTexts(held_out), **rest)


def value_of(report: CycleReport, stage: Stage[V]) -> V:
    """The value of a stage that the cycle must have finished."""
    value = report.of(stage)
    assert value is not None, report.cycle.reason
    return value


def context(
    folder: Path,
    executor: Executor,
    generator: Any = None,
    *,
    cycle: int = 1,
    seed: int = 0,
    earlier: Sequence[Trace] = (),
    say: Say = lambda share, remark: None,
    at_once: int = 2,
    held_out: Callable[[str], bool] = lambda request: False,
    **rules: Any,
) -> StageContext:
    """A stage that writes into ``folder``; ``rules`` are those of its policy."""
    workshop = Workshop(executor, None, generator, Rules(HeldOutTexts(held_out), **rules))  # type: ignore[arg-type]
    return StageContext(
        cycle=cycle,
        folder=folder,
        seed=seed,
        crew=LocalCrew(workshop, at_once),
        earlier=earlier,
        say=say,
    )


def dataset(
    config: DatasetConfig,
    kept: Sequence[Trace],
    replay: Sequence[Trace],
    tools: Iterable[Tool],
    folder: Path,
    *,
    shown: int = 3,
    seed: int = 0,
    candidates: int = 0,
    held_out: Callable[[str], bool] = lambda request: False,
) -> Dataset:
    """Built as a cycle does, in ``folder / "dataset"``."""
    executor = Executor(ToolRegistry(tools), InProcessSandbox())
    stage = context(folder, executor, seed=seed, earlier=replay, held_out=held_out)
    return build(stage, config, kept, shown=shown, candidates=candidates)
