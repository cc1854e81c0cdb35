"""A vLLM on a node of a cluster, in the care of a process that Ray starts there."""

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agent.adapters.package import check_adapter
from agent.cluster.connection import refusal
from agent.cluster.folders import FolderReceiver, kept_folders
from agent.cluster.installation import Installation
from agent.config import VllmConfig
from agent.errors import AdapterError
from agent.models.profile import ModelProfile
from agent.serving.socket_folder import VLLM
from agent.serving.upstreams.connection import Upstream
from agent.serving.vllm.launcher import keep_log
from agent.serving.vllm.process import VllmServer
from agent.serving.vllm.supervisor import Supervisor
from toolkit.errors import UserError


@dataclass(frozen=True)
class HostSettings:
    """Settings of a vLLM on a node. ``number`` names its log."""

    config: VllmConfig
    profile: ModelProfile
    gpus: int
    number: int


@dataclass(frozen=True)
class Entered:
    """Id and address of a node. ``refusal``: the reason why it must not be used, or ""."""

    node: str
    address: str
    refusal: str


@dataclass(frozen=True)
class Running:
    """Address and key of a vLLM on a node."""

    url: str
    key: str


class ModelHost(FolderReceiver):
    """Keeps one vLLM running on its node, as the supervisor does. Several threads call it.

    The port stays the same as long as this process lives; each start has a key of its own. Gateways load the adapters.
    """

    def __init__(self) -> None:
        super().__init__()
        self._give_up = threading.Event()
        self._starting = threading.Lock()
        self._running: Running | None = None
        self._said: list[str] = []
        self._idle_seconds = 0.0
        self._port = socket.socket()
        self._supervisor: Supervisor | None = None
        self._watch: _Watch | None = None

    def enter(self, driver: Installation) -> Entered:
        """Return the place of this process, and whether it may be used. Call this first."""
        import ray
        from ray.util import get_node_ip_address

        return Entered(ray.get_runtime_context().get_node_id(), get_node_ip_address(), refusal(driver))

    def start(self, address: str, model: Path, settings: HostSettings) -> Running | str:
        """Start vLLM at the node's ``address``, and again whenever it ends. Return the reason if it does not start."""
        with self._starting:
            try:
                self._port = _reserved(address)
                tcp: tuple[str, int] = self._port.getsockname()[:2]
                self._supervisor = Supervisor(
                    lambda: self._launch(tcp, model, settings),
                    self.own_folder / "data",  # an empty one, in which no adapter is due
                    self._said.append,
                    config=settings.config,
                    idle_seconds=lambda: self._idle_seconds,
                )
                self._changed(self._supervisor.start())
            except (UserError, OSError) as error:
                return str(error)
            self._watch = _Watch(self._supervisor, self._changed)
        assert self._running is not None
        return self._running

    def look(self, idle_seconds: float) -> tuple[Running | None, list[str]]:
        """Return the vLLM, None while it starts again, and the lines for the log since the last look.

        ``idle_seconds``: time since the last request.
        """
        self._idle_seconds = idle_seconds
        said = list(self._said)
        del self._said[: len(said)]
        return self._running, said

    def adapter_problem(self, folder: Path, sha256: str, base_sha256: str) -> str:
        """Return the reason why the adapter in ``folder`` must not be loaded here, or ""."""
        try:
            check_adapter(folder, sha256=sha256, base_sha256=base_sha256)
        except AdapterError as error:
            return str(error)
        return ""

    def close(self) -> None:
        """End vLLM, also one that is starting; it is gone when this returns."""
        self._give_up.set()
        with self._starting:
            if self._watch is not None:
                self._watch.end()
            if self._supervisor is not None:
                self._supervisor.stop()
        self._port.close()
        self.forget_folders()

    def _launch(self, tcp: tuple[str, int], model: Path, settings: HostSettings) -> VllmServer:
        log = kept_folders().with_name("logs") / f"vllm-{settings.number}.log"
        keep_log(log)
        return VllmServer.start(
            settings.config,
            model,
            log,
            self.own_folder / VLLM,
            profile=settings.profile,
            tcp=tcp,
            gpus=settings.gpus,
            base=without_ray(os.environ),
            progress=self._check_wanted,
        )

    def _check_wanted(self, _step: str, _seconds: float) -> None:
        if self._give_up.is_set():
            raise UserError("stopped while starting")

    def _changed(self, upstream: Upstream | None) -> None:
        self._running = None if upstream is None else Running(upstream.url, upstream.key)


Changed = Callable[[Upstream | None], None]


class _Watch:
    """The watch of a supervisor, in a thread of its own."""

    def __init__(self, supervisor: Supervisor, changed: Changed) -> None:
        self._supervisor, self._changed = supervisor, changed
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(supervisor.watch(changed))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop watching; returns when no start is under way any more."""
        with suppress(RuntimeError):  # it has ended itself
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()

    def _run(self) -> None:
        try:
            with suppress(asyncio.CancelledError):
                self._loop.run_until_complete(self._task)
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()


def without_ray(environment: Mapping[str, str]) -> dict[str, str]:
    """Return ``environment`` without Ray's variables, which hold the cluster's token."""
    return {name: value for name, value in environment.items() if not name.startswith("RAY_")}


def _reserved(address: str) -> socket.socket:
    """Return a socket that is bound to a free port and does not listen. Raises OSError.

    The kernel gives the port to nobody who asks for a free one, and vLLM may listen there.
    """
    found = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((address, 0))
    except OSError:
        found.close()
        raise
    return found
