"""Tools whose code a model wrote, beside those of an executor."""

from collections.abc import Sequence

from toolkit.errors import SandboxUnavailable
from toolkit.execute import Executor
from toolkit.made import APPROVED, MadeCode, MadeTool
from toolkit.sandbox import Runner


def pool_of(executor: Executor) -> Runner:
    """Return the pool in which ``executor`` runs code that a model wrote. Raises SandboxUnavailable without one."""
    approved = executor.runner(APPROVED)
    if not isinstance(approved, MadeCode):
        raise SandboxUnavailable("there is no pool for code that a model wrote; open the executor with one")
    return approved.pool


def with_made_tools(executor: Executor, made: Sequence[MadeTool], kind: str) -> Executor:
    """Return an executor of its tools and of ``made``, whose source is of ``kind``; see ``Executor.with_tools``."""
    return executor.with_tools([tool.tool(kind) for tool in made], kind, MadeCode(made, pool_of(executor)))
