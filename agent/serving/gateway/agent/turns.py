"""Turns of the agent itself, with the tools of this machine: a bounded number at a time, each in a thread of its own.

The same loop as in ``agent chat``. Its requests go through the gateway like those of any client.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.config import Config
from agent.log.interaction_log import InteractionLog
from agent.log.session import Session, room_for_history
from agent.serving.gateway.model_routing import ALIAS
from agent.turn.loop import Agent
from agent.turn.messages import Message, Trajectory
from agent.turn.model_client import HttpModelClient
from agent.turn.prompt import PROMPT_VERSION
from toolkit.config import ToolkitConfig
from toolkit.execute import Executor, open_executor
from toolkit.search import VECTORS_FILE, ToolIndex

SOURCE = "apprentice"
"""The source of these turns in the log."""
AT_ONCE = 32
WAITING = 64
SIGN_OF_LIFE_SECONDS = 10.0


@dataclass(frozen=True)
class AskedTurn:
    """One turn that a client asks for. ``history`` None: what the log has of the session.

    ``model`` answers it: the name of one, or "agent", which the session then leads to the one that serves it.
    ``reference`` is the id of the answer at the client, ``traceparent`` the client's span.
    """

    text: str
    session: str
    model: str
    reference: str
    history: tuple[tuple[Message, ...], ...] | None = None
    system: tuple[Message, ...] = ()
    owner: str = ""
    tenant: str = ""
    logged: bool = True
    traceparent: str = ""
    source: str = SOURCE


@dataclass(frozen=True)
class Ended:
    """The end of a turn. ``interaction`` is its id in the log, "" where it is not logged."""

    trajectory: Trajectory
    interaction: str = ""


Event = str | Message | Ended | None
"""A piece of the answer's text, a message of the turn, its end; None: nothing new, and still at work."""


class ClientLeft(Exception):
    """The end of a turn for which nobody waits any more. It is logged as one that failed."""


@dataclass(frozen=True)
class Tools:
    """The open toolkit, and the search over it."""

    executor: Executor
    index: ToolIndex


class SharedTools:
    """The toolkit of all turns, which the first of them opens. May be shared by threads."""

    def __init__(
        self,
        config: ToolkitConfig,
        opened: Callable[[ToolkitConfig], AbstractContextManager[Executor]] = open_executor,
        vectors_file: Path | None = None,
    ) -> None:
        self._config = config
        self._vectors_file = vectors_file
        self._opened = opened
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._tools: Tools | None = None

    def __call__(self) -> Tools:
        """Return the tools. Raises UserError and SandboxUnavailable where they cannot be opened; the next call tries
        again."""
        with self._lock:
            if self._tools is None:
                with ExitStack() as stack:
                    executor = stack.enter_context(self._opened(self._config))
                    self._tools = Tools(executor, ToolIndex(executor.registry, vectors_file=self._vectors_file))
                    self._stack = stack.pop_all()
            return self._tools

    def close(self) -> None:
        with self._lock:
            self._stack.close()
            self._tools = None


class AgentTurns:
    """Runs turns; at most ``AT_ONCE`` at a time, while at most ``WAITING`` more wait.

    ``gateway_url`` and ``gateway_key`` lead to the gateway, which may be the one that these turns are asked of.
    """

    def __init__(
        self,
        config: Config,
        log: InteractionLog,
        gateway_url: str,
        gateway_key: str,
        tools: SharedTools | None = None,
        *,
        prompt_version: Callable[[], str] = lambda: PROMPT_VERSION,
    ) -> None:
        self.tools = tools or SharedTools(config.toolkit, vectors_file=config.data_folder / VECTORS_FILE)
        self.gateway_url = gateway_url
        self.gateway_key = gateway_key
        self.data_folder = config.data_folder
        self._config = config
        self._prompt_version = prompt_version
        self._log = log
        self._client = HttpModelClient(gateway_url, gateway_key)
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="turn")
        self._stopping = threading.Event()
        self.running = 0

    @property
    def full(self) -> bool:
        """Return whether no more turn may begin or wait."""
        return self.running >= AT_ONCE + WAITING

    def close(self) -> None:
        """End all turns, each with its next word or result, and the tools."""
        self._stopping.set()
        self._threads.shutdown(cancel_futures=True)
        self._client.close()
        self.tools.close()

    def requests_before(self, limit: int, *, source: str) -> list[str]:
        """Return the newest ``limit`` requests of ``source`` without a key, oldest first, as they were stored."""
        return self._log.requests(source=source, owner="", limit=limit)

    async def run(self, asked: AskedTurn) -> AsyncGenerator[Event, None]:
        """Yield what happens in a turn, ``Ended`` last. Closing the generator ends the turn.

        Raises as ``Agent.run`` does, UserError and SandboxUnavailable.
        """
        events: asyncio.Queue[Event | BaseException] = asyncio.Queue()
        loop, left = asyncio.get_running_loop(), threading.Event()

        def tell(event: Event | BaseException) -> None:
            if left.is_set() or self._stopping.is_set():
                raise ClientLeft("nobody waits for the answer")
            loop.call_soon_threadsafe(events.put_nowait, event)

        self.running += 1
        work = self._threads.submit(self._work, asked, tell)
        try:
            async for event in until_the_end(events):
                yield event
        finally:
            self.running -= 1
            left.set()
            work.cancel()

    def _work(self, asked: AskedTurn, tell: Callable[[Event | BaseException], None]) -> None:
        # The one who waits may have left, and the event loop may be gone.
        with contextlib.suppress(ClientLeft, RuntimeError):
            try:
                tell(self._turn(asked, tell))
            except ClientLeft:
                raise
            except BaseException as error:  # noqa: BLE001 - it is raised where the turn was asked for
                tell(error)

    def _turn(self, asked: AskedTurn, tell: Callable[[Event], None]) -> Ended:
        tools, identity = self.tools(), ""
        with self._session(asked) as session, self._asking(asked) as client:
            agent = Agent(
                client, tools.executor, tools.index, self._config.agent.loop, self._config.agent.prompt,
                prompt_version=self._prompt_version(),
            )  # fmt: skip

            def record(trajectory: Trajectory) -> None:
                nonlocal identity
                identity = session.record(
                    trajectory, tools.executor.registry, reference=asked.reference, traceparent=asked.traceparent
                )

            trajectory = agent.run(
                asked.text,
                history=(*asked.system, *self._history(asked, session)),
                model=asked.model,
                workspace=session.workspace,
                on_token=tell,
                on_message=tell,
                record=record if asked.logged else None,
            )
        return Ended(trajectory, identity)

    def _history(self, asked: AskedTurn, session: Session) -> tuple[Message, ...]:
        return session.history() if asked.history is None else session.fitting(asked.history)

    @contextmanager
    def _asking(self, asked: AskedTurn) -> Iterator[HttpModelClient]:
        """Yield the client of a turn: one that names the session, where that says which model answers."""
        if asked.model != ALIAS:
            yield self._client
            return
        with HttpModelClient(self.gateway_url, self.gateway_key, session=asked.session) as client:
            yield client

    @contextmanager
    def _session(self, asked: AskedTurn) -> Iterator[Session]:
        agent = self._config.agent
        session = Session(
            asked.session,
            self._log,
            self._config.data_folder,
            history_turns=agent.prompt.history_turns,
            history_characters=room_for_history(agent),
            source=asked.source,
            owner=asked.owner,
            tenant=asked.tenant,
        )
        try:
            yield session
        finally:
            session.close()


async def until_the_end(events: "asyncio.Queue[Event | BaseException]") -> AsyncGenerator[Event, None]:
    """Yield events until a turn has ended, None as a sign of life where none comes for a while."""
    while True:
        try:
            async with asyncio.timeout(SIGN_OF_LIFE_SECONDS):
                event = await events.get()
        except TimeoutError:
            event = None
        if isinstance(event, BaseException):
            raise event
        yield event
        if isinstance(event, Ended):
            return
