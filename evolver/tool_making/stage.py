"""What the model makes besides traces: definitions of tools that exist, and new tools. Lessons may use the latter."""

from collections.abc import Callable

from evolver.config import MakeConfig
from evolver.definitions import define
from evolver.generate import Generator
from evolver.invent import Candidate, invent
from evolver.tool_pool import ToolPool
from evolver.types import Mined, ToolsMade
from toolkit.execute import Executor
from toolkit.names import skeleton

UNAPPROVED = "unapproved"
"""The kind of source of tools that only lessons use."""


def make_tools(
    config: MakeConfig,
    mined: Mined,
    executor: Executor,
    generator: Generator,
    pool: ToolPool,
    *,
    cycle: int,
    seed: int,
    held_out: Callable[[str], bool] = lambda request: False,
    held_out_tool: Callable[[str], bool] = lambda description: False,
) -> ToolsMade:
    """Let the model define tools of ``executor``, and write new ones for mined requests, which wait in ``pool``.

    Raises ModelUnavailable, StageError, SandboxUnavailable, PrerequisiteError.
    """
    defined = define(executor.registry, generator, limit=config.definitions_per_cycle, seed=seed)
    taken = {skeleton(name) for name in executor.registry.names()}

    def keep(candidate: Candidate) -> str:
        if skeleton(candidate.tool.name) in taken:
            return "name_in_use"
        return pool.add(
            candidate.tool, candidate.examples, cycle=cycle, maker=generator.model,
            interaction_id=candidate.interaction_id, request=candidate.request,
        )  # fmt: skip

    invented = invent(
        config,
        mined.tasks,
        executor.made_code,
        generator,
        keep,
        seed=seed,
        held_out=held_out,
        held_out_tool=held_out_tool,
    )
    return ToolsMade(defined=defined, invented=invented)


def wanted(config: MakeConfig) -> bool:
    """Whether ``config`` asks for any of it."""
    return bool(config.tools_per_cycle or config.definitions_per_cycle)


def lesson_executor(executor: Executor, pool: ToolPool) -> Executor:
    """``executor`` with the tools of ``pool`` that wait for a person's word: for lessons, never for serving."""
    return executor.also([found.tool for found in pool.tools("waiting")], UNAPPROVED)
