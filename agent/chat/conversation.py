"""A conversation with the server that runs: its parts put together, and its turns one after the other."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from itertools import zip_longest
from typing import Any

from agent.adapters import active
from agent.chat import learned
from agent.chat.commands import COMMANDS, ChatCommands
from agent.chat.lines import lines
from agent.config import Config
from agent.errors import NO_SERVER
from agent.log.session import Session, check_name, new_name, room_for_history
from agent.log.traced_log import traced_log
from agent.serving import serving_state
from agent.turn.loop import Agent
from agent.turn.messages import Trajectory
from agent.turn.model_client import HttpModelClient
from agent.turn.terminal import Terminal, summary
from toolkit.elapsed import Elapsed
from toolkit.errors import UserError
from toolkit.execute import open_executor
from toolkit.registry import ToolRegistry
from toolkit.search import VECTORS_FILE, ToolIndex
from toolkit.tool import neutral

_RECALLED = 500
"""Earlier requests that the arrow keys recall."""


class Chat:
    """An agent, the session that it talks in, and the commands on it."""

    def __init__(self, agent: Agent, session: Session, registry: ToolRegistry, commands: ChatCommands) -> None:
        self.session = session
        self.commands = commands
        self._agent = agent
        self._registry = registry

    def left_out(self) -> list[str]:
        """Return the lines that tell a person which tools and servers are missing here."""
        return [neutral(line) for line in self._registry.notes()]

    def turn(self, text: str, *, shown: Terminal | None) -> tuple[str, Trajectory]:
        """Answer ``text``, log the turn, show it as it goes; returns the interaction's id and the turn.

        Raises like Agent.run; the turn is logged then too.
        """
        identity = ""

        def record(trajectory: Trajectory) -> None:
            nonlocal identity
            identity = self.session.record(trajectory, list(self._registry))

        with shown.waiting() if shown else nullcontext():
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
    """Open everything that a conversation needs. Raises UserError where no server runs."""
    serving = serving_state.read(config.data_folder)
    if serving is None:
        raise UserError(NO_SERVER)
    name = session or new_name()
    check_name(name)
    with (
        traced_log(config) as log,
        HttpModelClient(serving.gateway_url, serving.gateway_key, session=name) as client,
    ):
        talk = Session(
            name,
            log,
            config.data_folder,
            history_turns=config.agent.prompt.history_turns,
            history_characters=room_for_history(config.agent),
        )
        try:
            with ExitStack() as stack:
                with Elapsed("preparing the tools"):
                    executor = stack.enter_context(open_executor(config.toolkit))
                    index = ToolIndex(executor.registry, vectors_file=config.data_folder / VECTORS_FILE)
                agent = Agent(
                    client, executor, index, config.agent.loop, config.agent.prompt,
                    prompt_version=serving.prompt_version,
                )  # fmt: skip
                commands = ChatCommands(
                    talk,
                    list(executor.registry),
                    partial(active.read, config.data_folder),
                    f"{serving.gateway_url}/ui",
                    partial(learned.about, config),
                )
                yield Chat(agent, talk, executor.registry, commands)
        finally:
            talk.close()


def talk(chat: Chat) -> None:
    """Ask for messages until the input ends, and answer them; see ``chat_input.lines``. Ctrl-C ends an answer."""
    terminal = Terminal(sys.stdout, sys.stderr)
    names = [f"/{name}" for name in COMMANDS]
    for text in lines(chat.session.requests_before(_RECALLED), names):
        try:
            _say(chat, text, terminal)
        except KeyboardInterrupt:
            terminal.note("stopped")
        except UserError as error:
            terminal.note(str(error))


def _say(chat: Chat, text: str, terminal: Terminal) -> None:
    answer = chat.commands.answer(text) if text.startswith("/") else None
    if answer is None:
        identity, trajectory = chat.turn(text, shown=terminal)
        answer = [summary(identity, trajectory)]
    for line in answer:
        terminal.note(line)


def as_json(identity: str, session: str, trajectory: Trajectory) -> dict[str, Any]:
    """Return one turn in the form that programs read."""
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
