"""Context that the stages of one cycle share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from evolver.crew.crew import Crew
from evolver.lessons.admission import LessonPolicy
from evolver.model.client import Generator
from evolver.types import Trace
from toolkit.execute import Executor
from toolkit.registry import ToolRegistry

Say = Callable[[float, str], None]
"""Called with the share of a stage that is done and a remark."""


@dataclass(frozen=True)
class StageContext:
    """Context of one stage in cycle number ``cycle``, which writes into ``folder``.

    ``crew`` carries out the stage's orders, with the tools that the stage may use. ``earlier`` are the lessons of
    cycles before, as far as the tools still take their calls.
    """

    cycle: int
    folder: Path
    seed: int
    crew: Crew
    earlier: Sequence[Trace] = ()
    say: Say = lambda share, remark: None

    @property
    def executor(self) -> Executor:
        """Executor of the tools that the stage may use, in this process."""
        return self.crew.here.executor

    @property
    def generator(self) -> Generator:
        """Generator that asks the base model, from this process."""
        return self.crew.here.generator

    @property
    def policy(self) -> LessonPolicy:
        """The rules for what may be learned."""
        return self.crew.here.policy

    @property
    def tools(self) -> ToolRegistry:
        """The tools of ``executor``."""
        return self.executor.registry
