"""Tools whose Python code a model wrote: run in a pool of their own, and part of the agent only once a person approved.

``approved_tools`` in the data folder has one file per approved tool. What is not approved is not in it.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import JsonValue

from toolkit import durable_file
from toolkit.errors import ConfigError
from toolkit.frozen import Frozen
from toolkit.sandbox import ExecResult, Invocation, Runner, Status
from toolkit.tool import Effect, Tool

APPROVED = "made"
"""The kind of source of approved tools, ``made:SHA``."""


class MadeTool(Frozen):
    """A tool with the ``source`` of its function, whose name is the tool's. ``parameters`` as in Tool."""

    name: str
    description: str
    parameters: dict[str, JsonValue]
    source: str

    @property
    def sha256(self) -> str:
        """Hash of all that a person approves: another description or another code is another tool."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()

    def tool(self, kind: str = APPROVED) -> Tool:
        """Return the tool as the model sees it. It is pure: its sandbox has nothing to change."""
        return Tool(
            name=self.name,
            description=self.description,
            parameters=self.parameters,
            effect=Effect.PURE,
            source=f"{kind}:{self.sha256[:12]}",
            function=self.name,
        )


class MadeCode(Runner):
    """Runs the functions of ``tools``, each from its source, in ``pool``, which is the caller's to close."""

    def __init__(self, tools: Iterable[MadeTool], pool: Runner) -> None:
        self._sources = {tool.name: tool.source for tool in tools}
        self.pool = pool

    def run(self, invocation: Invocation) -> ExecResult:
        """Run a call as Runner says. ``module`` and ``workspace`` mean nothing here: made tools have neither."""
        source = self._sources.get(invocation.function)
        if source is None:
            missing = f"there is no code for {invocation.function}"
            return ExecResult(Status.TOOL_FAILED, error_type="LookupError", message=missing)
        return self.pool.run(replace(invocation, source=source, workspace=None))

    def close(self) -> None:
        """Leave the pool open: it is the caller's."""


def read_approved(folder: Path | None) -> list[MadeTool]:
    """Return the approved tools, by name. Raises ConfigError for a file that is none, or not what was approved."""
    found = []
    for path in sorted(folder.glob("*.json")) if folder is not None and folder.is_dir() else ():
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            made = MadeTool.model_validate(stored["tool"])
            whole = made.sha256 == stored["sha256"] and path.stem == made.name
        except (ValueError, KeyError, TypeError):
            made, whole = None, False
        if made is None or not whole:
            raise ConfigError(f"{path} is not what was approved; delete it and repeat: evolver tools approve")
        found.append(made)
    return found


def write_approved(folder: Path, tool: MadeTool) -> None:
    """Put ``tool`` among the approved ones, whole or not at all. It serves with the next start of the agent."""
    content = json.dumps({"sha256": tool.sha256, "tool": tool.model_dump()}, indent=2)
    durable_file.replace(folder / f"{tool.name}.json", content.encode())


def remove_approved(folder: Path, names: Sequence[str]) -> None:
    """Take the tools ``names`` away, as far as they are there."""
    for name in names:
        durable_file.remove(folder / f"{name}.json")
