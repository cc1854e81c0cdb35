"""Starts vLLM servers on the nodes of a Ray cluster, and replaces those that are lost, while nodes come and go.

Ray starts one process for each server and notices when it dies. On nodes with GPUs Ray chooses the node. Without GPUs,
a vLLM computes on all cores of its node, so each node gets one.
"""

import asyncio
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from agent.cluster.actors import close_actors, kill_actor, start_actor, unusable, usable_nodes, without_nodes
from agent.cluster.config import ClusterConfig
from agent.cluster.connection import connected, lines_of
from agent.cluster.folders import bring, listed
from agent.cluster.installation import installed
from agent.config import Config
from agent.serving.hosted.delivery import Delivery
from agent.serving.hosted.model_host import HostSettings, ModelHost, Running
from agent.serving.upstreams.connection import Upstream
from agent.serving.vllm.command_line import is_cpu_build
from agent.serving.vllm.launcher import Say, ServedModel
from toolkit.errors import UserError

_LOOK_SECONDS = 1.0
_CLOSING_SECONDS = 25.0
"""Longer than the guard of a vLLM takes to end it."""
_LONGEST_PAUSE = 60.0
_ADD = "let one join, or lower [cluster] gpus_per_server"
_THREADS = 4
"""Calls at a time in the process on a node: a start, a look, an adapter, the end."""


class _Refused(UserError):
    """A node must not be used, whatever is tried."""


@dataclass(eq=False)
class _Server:
    """Server ``number``. ``node`` is "" while Ray looks for one. ``upstream`` is None before the server runs and while
    it starts again. ``looking`` is Ray's reference to the result of ModelHost.look."""

    number: int
    actor: Any
    node: str = ""
    address: str = ""
    opening: "Future[Running] | None" = None
    upstream: Upstream | None = None
    looking: Any = None


@dataclass
class _History:
    """Failures so far, by server and by node. ``not_before``: when a server may be tried again, monotonic seconds.
    ``refused``: nodes that must not be used; ``refusal`` and ``problem`` are the latest messages."""

    of_server: Counter[int] = field(default_factory=Counter)
    of_node: Counter[str] = field(default_factory=Counter)
    not_before: dict[int, float] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    refusal: str = ""
    problem: str = ""


class HostedServers:
    """The servers on the cluster that this process is connected to. ``say`` gets a line for each event.

    ``idle_seconds`` returns the time since the last request.
    """

    def __init__(self, config: Config, model: ServedModel, say: Say, idle_seconds: Callable[[], float]) -> None:
        self._cluster: ClusterConfig = config.cluster
        self._vllm = config.agent.serving.vllm_process
        self._model, self._say, self._idle_seconds = model, say, idle_seconds
        self._listing = listed(model.folder)
        self._servers: dict[int, _Server] = {}
        self._history = _History()
        self._waiting: set[int] = set()
        """The servers for which there is no node."""
        self._openers = ThreadPoolExecutor(self._cluster.servers)
        self._sending: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._gpu = self._wants_gpu()

    def open(self) -> list[Upstream]:
        """Start the servers, and return those that run as soon as one does. Raises UserError if none can run, or if a
        node must not be used."""
        patience = time.monotonic() + self._vllm.start_timeout_seconds
        while True:
            found = self._look(0.0)
            if self._history.refusal:
                raise UserError(self._history.refusal)
            if found:
                return found
            if not self._servers:
                raise UserError(self._history.problem or without_nodes(self._cluster.address))
            if time.monotonic() > patience and not any(server.address for server in self._servers.values()):
                raise UserError(f"{self._place} has no node with {self._cluster.gpus_per_server} free GPUs; {_ADD}")
            time.sleep(_LOOK_SECONDS / 4)

    async def watch(
        self, changed: Callable[..., None], *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Look after the servers. ``changed`` is called with the running ones when they change."""
        known: list[Upstream] | None = None
        while True:
            found = await asyncio.to_thread(self._look, self._idle_seconds())
            if found != known:
                known = found
                changed(*found)
            await sleep(_LOOK_SECONDS)

    def close(self) -> None:
        """End all servers, wherever they run."""
        close_actors([server.actor for server in self._servers.values() if server.address], _CLOSING_SECONDS)
        for server in list(self._servers.values()):
            self._drop(server)
        self._openers.shutdown()

    @property
    def _place(self) -> str:
        return f"the Ray cluster at {self._cluster.address}"

    def _wants_gpu(self) -> bool:
        import ray

        if self._vllm.device != "auto":
            return self._vllm.device == "gpu"
        return not is_cpu_build() and any(node["Resources"].get("GPU") for node in ray.nodes() if node["Alive"])

    def _look(self, idle_seconds: float) -> list[Upstream]:
        """Take started servers into use, drop lost ones, start missing ones; return those that run."""
        from ray.exceptions import RayError

        try:
            for server in list(self._servers.values()):
                if server.opening is not None:
                    self._take_opened(server, server.opening)
                else:
                    self._take_look(server, idle_seconds)
            self._hire()
        except RayError as error:
            raise UserError(
                f"{self._place} does not answer ({lines_of(error)[0]}); start it, then: agent serve"
            ) from None
        running = [self._servers[number].upstream for number in sorted(self._servers)]
        return [upstream for upstream in running if upstream is not None]

    def _hire(self) -> None:
        """Begin to start the servers that are missing, where there are nodes for them."""
        now = time.monotonic()
        missing = [number for number in range(self._cluster.servers) if number not in self._servers]
        for number in missing:
            if now < self._history.not_before.get(number, 0.0):
                continue
            if (options := self._options()) is not None:
                self._waiting.discard(number)
                self._servers[number] = self._begun(number, options)
            elif number not in self._waiting:
                self._waiting.add(number)
                self._say(f"server {number + 1} of {self._cluster.servers} waits for a node that has none yet")

    def _options(self) -> dict[str, Any] | None:
        """Return the options of ``start_actor`` for one more process on a node; None where no node is left."""
        if self._gpu:
            return {"num_gpus": self._cluster.gpus_per_server, "scheduling_strategy": "SPREAD"}
        taken = {server.node for server in self._servers.values()} | self._history.refused
        free = [node["NodeID"] for node in usable_nodes() if node["NodeID"] not in taken]
        return {"node": min(free, key=lambda node: self._history.of_node[node])} if free else None

    def _begun(self, number: int, options: dict[str, Any]) -> _Server:
        actor = start_actor(ModelHost, threads=_THREADS, **options)
        server = _Server(number, actor, node=options.get("node", ""))
        server.opening = self._openers.submit(self._opened, server)
        return server

    def _opened(self, server: _Server) -> Running:
        """Bring the model to the node that Ray chose, and start vLLM there. Raises _Refused, UserError, RayError,
        OSError."""
        import ray

        entered: Any = ray.get(server.actor.enter.remote(installed()))
        server.node, server.address = entered.node, entered.address
        if entered.refusal:
            raise _Refused(unusable(server.address, entered.refusal))
        with self._sending[server.node]:  # the next server there finds it
            (model,) = bring([server.actor], self._model.folder, self._listing, keep=True)
        config = self._vllm.model_copy(update={"device": "gpu" if self._gpu else "cpu"})
        settings = HostSettings(config, self._model.profile, self._cluster.gpus_per_server, server.number)
        running: Any = ray.get(server.actor.start.remote(server.address, model, settings))
        if isinstance(running, str):
            raise UserError(f"node {server.address}: {running}")
        return running

    def _take_opened(self, server: _Server, opening: "Future[Running]") -> None:
        """Take a server into use once it runs."""
        from ray.exceptions import RayError

        if not opening.done():
            return
        history = self._history
        try:
            running = opening.result()
        except _Refused as error:
            if server.node not in history.refused:
                self._say(f"{error}")
            history.refusal = str(error)
            history.refused.add(server.node)
            self._failed(server)
        except (UserError, RayError, OSError) as error:
            history.problem = str(error) if isinstance(error, UserError) else self._loss(server, error)
            self._say(f"{history.problem}; it is tried again")
            self._failed(server)
        else:
            history.of_server.pop(server.number, None)
            server.opening, server.upstream = None, self._upstream(server, running)
            self._say(f"vLLM serves on node {server.address}, at {running.url}")

    def _take_look(self, server: _Server, idle_seconds: float) -> None:
        """Read the last answer of a node about its server, and ask again."""
        import ray
        from ray.exceptions import RayError

        if server.looking is not None:
            if not ray.wait([server.looking], timeout=0)[0]:
                return
            try:
                running, said = ray.get(server.looking)
            except RayError as error:
                self._say(f"{self._loss(server, error)}; another one is started where there is room")
                self._failed(server)
                return
            for line in said:
                self._say(f"node {server.address}: {line}")
            upstream = None if running is None else self._upstream(server, running)
            if upstream != server.upstream:
                server.upstream = upstream
        server.looking = server.actor.look.remote(idle_seconds)

    def _upstream(self, server: _Server, running: Running) -> Upstream:
        deliver = Delivery(server.actor, server.address, self._model.base_sha256)
        return Upstream(running.url, running.key, deliver=deliver)

    def _loss(self, server: _Server, error: BaseException) -> str:
        where = f"node {server.address}" if server.address else "a node"
        return f"{where} of the cluster lost its server ({lines_of(error)[0]})"

    def _failed(self, server: _Server) -> None:
        """Do without ``server``; its place is filled after a pause."""
        history = self._history
        pause = 0.0 if server.upstream is not None else min(2.0 ** history.of_server[server.number], _LONGEST_PAUSE)
        history.of_server[server.number] += 1
        history.of_node[server.node] += 1
        history.not_before[server.number] = time.monotonic() + pause
        self._drop(server)

    def _drop(self, server: _Server) -> None:
        self._servers.pop(server.number, None)
        kill_actor(server.actor)


@contextmanager
def hosted_servers(
    config: Config, model: ServedModel, say: Say, idle_seconds: Callable[[], float]
) -> Iterator[HostedServers]:
    """Connect to the cluster of ``config`` for servers with ``model``, which all end at the end. Raises as
    ``connected``."""
    with connected(config.cluster.address):
        servers = HostedServers(config, model, say, idle_seconds)
        try:
            yield servers
        finally:
            servers.close()
