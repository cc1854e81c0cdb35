"""A conversation with the server that runs: its parts put together, and its turns one after the other."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any

from agent.config import Config
from agent.errors import NO_SERVER
from agent.interaction_log import InteractionLog
from agent.loop import Agent
from agent.messages import Trajectory
from agent.model_client import HttpModelClient
from agent.serving import state
from agent.session import Session, check_name, new_name
from agent.terminal import Terminal, summary
from toolkit.errors import UserError
from toolkit.execute import open_executor
from toolkit.registry import ToolRegistry
from toolkit.search import ToolIndex

_CHARACTERS_PER_TOKEN = 3
"""At least that many in most text; what was said before may fill half of the model's context."""


class Chat:
    """An agent, and the session that it talks in."""

    def __init__(self, agent: Agent, session: Session, registry: ToolRegistry) -> None:
        self.session = session
        self._agent = agent
        self._registry = registry

    def turn(self, text: str, *, shown: Terminal | None) -> tuple[str, Trajectory]:
        """Answer ``text``, log the turn, show it as it goes; returns the interaction's id and the turn.

        Raises like Agent.run; the turn is logged then too.
        """
        identity = ""

        def record(trajectory: Trajectory) -> None:
            nonlocal identity
            identity = self.session.record(trajectory, list(self._registry))

        trajectory = self._agent.run(
            text,
            history=self.session.history(),
            workspace=self.session.workspace,
            on_token=shown.token if shown else None,
            on_message=shown.message if shown else None,
            record=record,
        )
        return identity, trajectory


@contextmanager
def open_chat(config: Config, session: str | None) -> Iterator[Chat]:
    """Everything that a conversation needs. Raises UserError where no server runs."""
    serving = state.read(config.data_folder)
    if serving is None:
        raise UserError(NO_SERVER)
    name = session or new_name()
    check_name(name)
    with (
        InteractionLog.of(config) as log,
        HttpModelClient(serving.gateway_url, serving.gateway_key, session=name) as client,
    ):
        talk = Session(
            name,
            log,
            config.data_folder,
            history_turns=config.agent.prompt.history_turns,
            history_characters=config.agent.serving.vllm_process.max_model_len * _CHARACTERS_PER_TOKEN // 2,
        )
        try:
            with open_executor(config.toolkit) as executor:
                index = ToolIndex(executor.registry)
                agent = Agent(client, executor, index, config.agent.loop, config.agent.prompt)
                yield Chat(agent, talk, executor.registry)
        finally:
            talk.close()


def talk(chat: Chat) -> None:
    """Ask for messages until the input ends. Ctrl-C ends a turn; between turns it ends the conversation."""
    terminal = Terminal(sys.stdout, sys.stderr)
    for text in _lines():
        try:
            identity, trajectory = chat.turn(text, shown=terminal)
            terminal.note(summary(identity, trajectory))
        except KeyboardInterrupt:
            terminal.note("stopped")
        except UserError as error:
            terminal.note(str(error))


def as_json(identity: str, session: str, trajectory: Trajectory) -> dict[str, Any]:
    """One turn for programs."""
    calls = []
    # Every call is answered in turn, unless the infrastructure broke on the way.
    for call, result in zip_longest(trajectory.calls, trajectory.results):
        entry: dict[str, Any] = {"name": call.name, "arguments": call.arguments}
        if result is not None and result.error is not None:
            entry["error"] = result.error.model_dump(mode="json")
        elif result is not None:
            entry["value"] = result.value
        calls.append(entry)
    return {
        "id": identity,
        "session": session,
        "answer": trajectory.answer,
        "calls": calls,
        "stop_reason": trajectory.stop_reason,
        "error": trajectory.error,
        "adapter": trajectory.adapter,
        "usage": trajectory.usage.model_dump(),
        "latency_ms": round(trajectory.latency_ms, 1),
    }


def _lines() -> Iterator[str]:
    interactive = sys.stdin.isatty()
    if interactive:
        import readline  # noqa: F401  (line editing for input())
    while True:
        try:
            text = input("> " if interactive else "")
        except (EOFError, KeyboardInterrupt):
            return
        if text.strip():
            yield text
