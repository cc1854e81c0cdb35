"""New tools that the model writes for mined requests. Lessons may use them; a person decides whether the agent does."""

from evolver.config import MakeConfig
from evolver.context import StageContext
from evolver.tool_making.drop_reason import ToolDropReason
from evolver.tool_making.generate import Candidate, invent
from evolver.tool_making.pool import ToolPool
from evolver.types import Invented, Mined
from toolkit.names import skeleton


def make_tools(context: StageContext, config: MakeConfig, mined: Mined, pool: ToolPool) -> Invented:
    """Let the model write tools for mined requests, which wait in ``pool``.

    Raises ModelUnavailable, StageError, SandboxUnavailable, PrerequisiteError.
    """
    taken = {skeleton(name) for name in context.tools.names()}

    def keep(candidate: Candidate) -> ToolDropReason | None:
        if skeleton(candidate.tool.name) in taken:
            return ToolDropReason.NAME_IN_USE
        return pool.add(
            candidate.tool, candidate.examples, cycle=context.cycle, maker=context.generator.model,
            interaction_id=candidate.interaction_id, request=candidate.request,
        )  # fmt: skip

    return invent(config, mined.tasks, context.crew, keep, seed=context.seed)
