"""The pool of tools that the model wrote: a table of the ledger, and for approved ones a file that the toolkit reads.

Lessons may use what waits and what is approved; the agent has only what a person approved (docs/decisions/0041).
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from agent.storage.statements import Statements
from evolver.crew.crew import Crew
from evolver.store.ledger import Ledger
from evolver.tool_making.drop_reason import ToolDropReason
from evolver.types import ToolExample
from toolkit.config import APPROVED_FOLDER
from toolkit.errors import UserError
from toolkit.frozen import Frozen
from toolkit.made import MadeTool, remove_approved, write_approved

UNAPPROVED = "unapproved"
"""The kind of source of tools that only lessons use."""
State = Literal["waiting", "approved", "rejected"]
_COLUMNS = (
    "sha256", "name", "state", "created_at", "decided_at", "cycle", "maker", "interaction_id", "request", "tool",
    "examples",
)  # fmt: skip


class PoolTool(Frozen):
    """A made tool with its lineage: the model that made it, in which cycle, for which request. Times in seconds."""

    sha256: str
    name: str
    state: State
    created_at: float
    decided_at: float | None
    cycle: int
    maker: str
    interaction_id: str
    request: str
    tool: MadeTool
    examples: tuple[ToolExample, ...]


class ToolPool:
    """The pool of one data folder."""

    def __init__(self, data_folder: Path, ledger: Ledger) -> None:
        self._folder = data_folder / APPROVED_FOLDER
        self._ledger = ledger

    def tools(self, state: State | None = None) -> list[PoolTool]:
        """Return all tools, or those in ``state``, the oldest first."""
        with self._ledger.reading() as db:
            rows = db.execute(f"SELECT {', '.join(_COLUMNS)} FROM made_tools ORDER BY created_at, name").fetchall()
        found = [_tool(row) for row in rows]
        return [tool for tool in found if state in (None, tool.state)]

    def add(
        self, tool: MadeTool, examples: Iterable[ToolExample], *, cycle: int, maker: str, interaction_id: str,
        request: str,
    ) -> ToolDropReason | None:  # fmt: skip
        """Let ``tool`` wait for a person's word, or return the reason not to: its name is in use, or it is known."""
        with self._ledger.together() as db:
            known = db.execute("SELECT state FROM made_tools WHERE sha256 = ?", (tool.sha256,)).fetchone()
            if known:
                rejected = known[0] == "rejected"
                return ToolDropReason.REJECTED_BEFORE if rejected else ToolDropReason.IN_THE_POOL_ALREADY
            if db.execute("SELECT 1 FROM made_tools WHERE name = ? AND state != 'rejected'", (tool.name,)).fetchone():
                return ToolDropReason.NAME_IN_USE
            shown = json.dumps([example.model_dump() for example in examples])
            values = (
                tool.sha256, tool.name, "waiting", self._ledger.now(), None, cycle, maker, interaction_id, request,
                tool.model_dump_json(), shown,
            )  # fmt: skip
            places = ", ".join("?" * len(_COLUMNS))
            db.execute(f"INSERT INTO made_tools ({', '.join(_COLUMNS)}) VALUES ({places})", values)
        return None

    def lesson_crew(self, crew: Crew) -> Crew:
        """Return ``crew`` with the tools that wait for a person's word: for lessons, never for serving."""
        return crew.with_tools([found.tool for found in self.tools("waiting")], UNAPPROVED)

    def approve(self, name: str) -> PoolTool:
        """Make a waiting tool one of the agent's. Raises UserError when none of that name waits."""
        with self._ledger.together() as db:
            tool = self._named(name, ("waiting", "approved"))
            # The file first: cut off in between, the tool is listed as waiting, and approving it again mends that.
            write_approved(self._folder, tool.tool)
            self._set_state(db, tool, "approved")
        return self._by_hash(tool.sha256)

    def reject(self, name: str) -> PoolTool:
        """Take a tool from the agent and from lessons to come. Raises UserError when there is none of that name."""
        with self._ledger.together() as db:
            tool = self._named(name, ("waiting", "approved"))
            remove_approved(self._folder, [name])
            self._set_state(db, tool, "rejected")
        return self._by_hash(tool.sha256)

    def forget(self, interaction_id: str) -> list[str]:
        """Delete the tools that were made for the interaction, also approved ones; returns their names."""
        with self._ledger.together() as db:
            gone = [tool.name for tool in self.tools() if tool.interaction_id == interaction_id]
            remove_approved(self._folder, [tool.name for tool in self.tools("approved") if tool.name in gone])
            db.execute("DELETE FROM made_tools WHERE interaction_id = ?", (interaction_id,))
        return gone

    def _named(self, name: str, states: tuple[State, ...]) -> PoolTool:
        found = [tool for tool in self.tools() if tool.name == name and tool.state in states]
        if not found:
            raise UserError(f"no made tool named {name} can be judged; see: evolver tools list")
        return found[-1]

    def _by_hash(self, sha256: str) -> PoolTool:
        return next(tool for tool in self.tools() if tool.sha256 == sha256)

    def _set_state(self, db: Statements, tool: PoolTool, state: State) -> None:
        values = (state, self._ledger.now(), tool.sha256)
        db.execute("UPDATE made_tools SET state = ?, decided_at = ? WHERE sha256 = ?", values)


def _tool(row: tuple[object, ...]) -> PoolTool:
    values = dict(zip(_COLUMNS, row, strict=True))
    return PoolTool.model_validate(
        {**values, "tool": json.loads(str(values["tool"])), "examples": json.loads(str(values["examples"]))}
    )
