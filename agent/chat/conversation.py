"""A conversation whose turns this process runs, at the model of the server: its parts put together."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial

from agent.adapters import active
from agent.chat import learned
from agent.chat.command_list import NamedTool
from agent.chat.commands import ChatCommands
from agent.config import Config
from agent.errors import NO_SERVER
from agent.log.interaction_log import InteractionLog
from agent.log.session import Session, room_for_history
from agent.log.session_name import check_name, new_name
from agent.log.traced_log import traced_log
from agent.serving import serving_state
from agent.turn.loop import Agent
from agent.turn.messages import Message, Trajectory
from agent.turn.model_client import HttpModelClient
from agent.turn.shown import message_lines, told
from agent.turn.terminal import Terminal, Told
from toolkit.elapsed import Elapsed
from toolkit.errors import UserError
from toolkit.execute import open_executor
from toolkit.printable import neutral
from toolkit.registry import ToolRegistry
from toolkit.search import VECTORS_FILE, ToolIndex


class Chat:
    """An agent, the session that it talks in, and the commands on it."""

    def __init__(self, agent: Agent, session: Session, registry: ToolRegistry, commands: ChatCommands) -> None:
        self.session = session
        self.commands = commands
        self._agent = agent
        self._registry = registry

    @property
    def name(self) -> str:
        return self.session.name

    def left_out(self) -> list[str]:
        return [neutral(line) for line in self._registry.notes()]

    def requests_before(self, limit: int) -> list[str]:
        return self.session.requests_before(limit)

    def command(self, line: str) -> list[str] | None:
        return self.commands.answer(line)

    def answer(self, text: str, *, shown: Terminal | None) -> Told:
        identity, trajectory = self.turn(text, shown=shown)
        return told(identity, self.session.name, trajectory)

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
                on_message=_showing(shown) if shown else None,
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
        open_session(config, log, name) as talk,
        ExitStack() as stack,
    ):
        with Elapsed("preparing the tools"):
            executor = stack.enter_context(open_executor(config.toolkit))
            index = ToolIndex(executor.registry, vectors_file=config.data_folder / VECTORS_FILE)
        agent = Agent(
            client, executor, index, config.agent.loop, config.agent.prompt, prompt_version=serving.prompt_version
        )
        commands = commands_on(config, talk, list(executor.registry), serving.gateway_url)
        yield Chat(agent, talk, executor.registry, commands)


@contextmanager
def open_session(config: Config, log: InteractionLog, name: str) -> Iterator[Session]:
    """Open the session of that name, which is held in `agent chat`. Raises UserError and StorageError."""
    session = Session(
        name,
        log,
        config.data_folder,
        history_turns=config.agent.prompt.history_turns,
        history_characters=room_for_history(config.agent),
    )
    try:
        yield session
    finally:
        session.close()


def commands_on(config: Config, session: Session, tools: Sequence[NamedTool], gateway_url: str) -> ChatCommands:
    """Return the commands on a session in which the agent has these ``tools``."""
    pointer = partial(active.read, config.data_folder)
    return ChatCommands(session, tools, pointer, f"{gateway_url}/ui", partial(learned.about, config))


def _showing(terminal: Terminal) -> Callable[[Message], None]:
    return lambda message: terminal.message(message_lines(message))
