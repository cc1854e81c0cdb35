"""Named conversations that go on where they ended.

A session's turns are in the interaction log; its files are in data/workspaces/NAME, which tools with state of their own
(notes) see as their workspace.
"""

import contextlib
import re
import time
from collections.abc import Sequence
from pathlib import Path

from agent.errors import StorageError
from agent.interaction_log import InteractionLog
from agent.messages import Message, Trajectory
from toolkit.errors import UserError
from toolkit.tool import Tool

SOURCE = "chat"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_name(name: str) -> None:
    """Raise UserError unless ``name`` can be that of a session: of a folder, and in a header."""
    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r} is no session name; use letters, digits, '.', '_' and '-', 64 at most")


class Session:
    """One conversation. Raises UserError for a name that could leave the folder of workspaces.

    ``history_turns`` and ``history_characters``: how much of what was said before is gone on with.
    """

    def __init__(
        self,
        name: str,
        log: InteractionLog,
        data_folder: Path,
        *,
        history_turns: int,
        history_characters: int = 1_000_000,
    ) -> None:
        check_name(name)
        self.name = name
        self.workspace = data_folder / "workspaces" / name
        self._log = log
        self._history_turns = history_turns
        self._history_characters = history_characters
        try:
            self.workspace.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self.workspace}: {error.strerror}; check that folder's disk and rights") from error

    def history(self) -> tuple[Message, ...]:
        """The messages of the last turns, oldest first; turns that failed are left out."""
        if self._history_turns == 0:
            return ()
        kept: list[Message] = []
        room = self._history_characters
        for turn in reversed(self._log.read_session(self.name, source=SOURCE, limit=self._history_turns)):
            if turn.trajectory.stop_reason == "failed":
                continue
            room -= sum(map(_length, turn.trajectory.messages))
            if room < 0:
                break
            kept[:0] = turn.trajectory.messages
        return tuple(kept)

    def record(self, trajectory: Trajectory, tools: Sequence[Tool]) -> str:
        """Log one turn of this session, with the schemas of those ``tools`` that it showed; returns its id."""
        schemas = {tool.name: tool.schema() for tool in tools}
        shown = [schemas[name] for name in trajectory.tools]
        return self._log.append(trajectory, session=self.name, source=SOURCE, tool_schemas=shown)

    def close(self) -> None:
        """Leave no empty folder behind."""
        with contextlib.suppress(OSError):
            self.workspace.rmdir()


def _length(message: Message) -> int:
    return len(message.content) + sum(len(call.name) + len(call.raw) for call in message.tool_calls)


def new_name(now: float | None = None) -> str:
    """A name for a conversation that was given none."""
    return time.strftime("chat-%Y%m%d-%H%M%S", time.localtime(now))
