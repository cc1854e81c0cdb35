"""Named conversations that go on where they ended.

A session's turns are in the interaction log; its files are in data/workspaces/NAME, which tools with state of their own
(notes) see as their workspace.
"""

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from agent.config import AgentConfig
from agent.errors import StorageError
from agent.log.interaction_log import InteractionLog
from agent.log.session_name import check_name
from agent.turn.messages import Interaction, Message, Trajectory
from toolkit.tool import Tool

SOURCE = "chat"

_CHARACTERS_PER_TOKEN = 3
"""At least that many in most text; what was said before may fill half of the model's context."""


class Session:
    """One conversation. Raises UserError for a name that could leave the folder of workspaces.

    ``history_turns`` and ``history_characters``: how much of what was said before is gone on with. ``source``,
    ``owner`` and ``tenant`` say where it is held; two owners, or two sources, may use one name for two sessions.
    """

    def __init__(
        self,
        name: str,
        log: InteractionLog,
        data_folder: Path,
        *,
        history_turns: int,
        history_characters: int = 1_000_000,
        source: str = SOURCE,
        owner: str = "",
        tenant: str = "",
    ) -> None:
        check_name(name)
        self.name = name
        # "~" stands in no name: a folder belongs to one session.
        self.workspace = data_folder / "workspaces" / (name if source == SOURCE else f"{owner}~{name}")
        self._source, self._owner, self._tenant = source, owner, tenant
        self._log = log
        self._history_turns = history_turns
        self._history_characters = history_characters
        try:
            self.workspace.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self.workspace}: {error.strerror}; check that folder's disk and rights") from error

    def history(self) -> tuple[Message, ...]:
        """Return the messages of the last turns, oldest first; turns that failed are left out."""
        if self._history_turns == 0:
            return ()
        logged = self._log.read_session(self.name, source=self._source, owner=self._owner, limit=self._history_turns)
        turns = [turn.trajectory.messages for turn in logged if turn.trajectory.stop_reason != "failed"]
        return self.fitting(turns)

    def fitting(self, turns: Sequence[Sequence[Message]]) -> tuple[Message, ...]:
        """Return the messages of the last of ``turns``, oldest first: as many turns as this session goes on with."""
        kept: list[Message] = []
        room = self._history_characters
        for messages in reversed(turns[-self._history_turns :] if self._history_turns else ()):
            room -= sum(map(_length, messages))
            if room < 0:
                break
            kept[:0] = messages
        return tuple(kept)

    def last(self) -> Interaction | None:
        """Return the newest turn, or None where nothing was said."""
        newest = self._log.read_session(self.name, source=self._source, owner=self._owner, limit=1)
        return newest[0] if newest else None

    def requests_before(self, limit: int) -> list[str]:
        """Return the newest ``limit`` requests of all sessions held here, oldest first, as they were stored."""
        return self._log.requests(source=self._source, owner=self._owner, limit=limit)

    def feedback(self, interaction_id: str, verdict: Literal["good", "bad"], note: str = "") -> None:
        """Store a word on one turn. Raises UserError, StorageError."""
        self._log.feedback(interaction_id, verdict, note, owner=self._owner)

    def record(
        self, trajectory: Trajectory, tools: Iterable[Tool], *, reference: str = "", traceparent: str = ""
    ) -> str:
        """Log one turn of this session, with the schemas of those ``tools`` that it showed; returns its id.

        ``reference``: the id under which its client knows the answer; ``traceparent``: the client's span.
        """
        schemas = {tool.name: tool.schema() for tool in tools}
        shown = [schemas[name] for name in trajectory.tools]
        return self._log.append(
            trajectory,
            session=self.name,
            source=self._source,
            tool_schemas=shown,
            owner=self._owner,
            tenant=self._tenant,
            reference=reference,
            traceparent=traceparent,
        )

    def close(self) -> None:
        """Leave no empty folder behind."""
        with contextlib.suppress(OSError):
            self.workspace.rmdir()


def room_for_history(config: AgentConfig) -> int:
    """Return the characters of what was said before that a prompt has room for."""
    return config.serving.vllm_process.max_model_len * _CHARACTERS_PER_TOKEN // 2


def _length(message: Message) -> int:
    return len(message.content) + sum(len(call.name) + len(call.raw) for call in message.tool_calls)
