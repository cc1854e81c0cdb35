"""The training processes of one node, in a process that Ray starts there. Imports neither torch nor ray."""

import json
import os
import queue
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from agent.cluster.connection import refusal
from agent.cluster.folders import FolderReceiver, Listing
from agent.cluster.installation import Installation
from evolver.training.launcher import End, Progress, threads_of
from evolver.training.node_folder import NodeFolder, aside
from evolver.training.worker_process import WORKER, WorkerProcess

_WAIT_SECONDS = 1.0
_LIBRARIES = ("torch", "transformers", "peft", "accelerate", "safetensors")


@dataclass(frozen=True)
class Opened:
    """A node before training. ``problem``: the reason why it must not be used, or ""."""

    problem: str
    cores: int = 0


@dataclass(frozen=True)
class Rank:
    """Place of a node's processes among all. ``first``: the lowest rank on the node. ``here`` and ``all``: numbers of
    processes on the node and on all nodes. The leading process listens at ``address`` and ``port``. ``cores``: the
    least number of cores of any node."""

    first: int
    here: int
    all: int
    address: str
    port: int
    cores: int


@dataclass
class Batch:
    """Events since the last batch, and the ends of the processes that have ended."""

    events: list[Progress] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)


def trainer_libraries() -> dict[str, str]:
    """Return the versions of the libraries that training needs; "" for those that are not installed."""
    return {name: _version(name) for name in _LIBRARIES}


class NodeProcesses(FolderReceiver):
    """The processes of one node. The driver sends files, starts the processes, and asks for their events.

    Folders arrive as FolderReceiver takes them, the base model to keep. A process ends when its stdin closes: none
    outlives this one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._folder = NodeFolder()
        self._processes: list[WorkerProcess] = []
        self._listeners: list[threading.Thread] = []
        self._said: queue.Queue[Progress | End] = queue.Queue()

    def open(self, driver: Installation, libraries: Mapping[str, str]) -> Opened:
        """Compare this node with the driver's machine and its ``libraries``, by name their versions."""
        if problem := refusal(driver):
            return Opened(problem)
        for name, version in libraries.items():
            if (found := _version(name)) != version:
                return Opened(
                    f"it has {name} {found or '(none)'} instead of {version}; install there what is installed here"
                )
        return Opened("", len(os.sched_getaffinity(0)))

    def take(self, source: Path, folder: str) -> None:
        """See NodeFolder."""
        self._folder.take(source, folder)

    def listed(self, folder: str) -> Listing:
        """See NodeFolder."""
        return self._folder.listed(folder)

    def read(self, folder: str, name: str, offset: int) -> bytes:
        """See NodeFolder."""
        return self._folder.read(folder, name, offset)

    def remove(self, folder: str) -> None:
        """See NodeFolder."""
        self._folder.remove(folder)

    def free_port(self, address: str) -> int:
        """Return a port that nobody listens on at ``address``."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family) as found:
            found.bind((address, 0))
            return found.getsockname()[1]

    def start(self, spec: dict[str, Any], model: Path, rank: Rank, address: str) -> None:
        """Start this node's processes on the base model in the folder ``model``; ``address`` is the node's own."""
        path = self._folder.path("spec.json")
        path.write_text(json.dumps(self._folder.spec(spec, model)), encoding="utf-8")
        settings = _together(rank, address)
        for local in range(rank.here):
            ranks = {"RANK": str(rank.first + local), "LOCAL_RANK": str(local)}
            process = WorkerProcess([WORKER, str(path)], settings | ranks)
            listener = threading.Thread(target=self._listen, args=(process,), daemon=True)
            self._processes.append(process)
            self._listeners.append(listener)
            listener.start()

    def next(self) -> Batch:
        """Wait a moment, and return the events and ends since the last call.

        Of several checkpoints only the newest can be read.
        """
        batch = Batch()
        until = time.monotonic() + _WAIT_SECONDS
        while True:
            try:
                said = self._said.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return self._with_one_checkpoint(batch)
            batch.ends.append(said) if isinstance(said, End) else batch.events.append(said)
            until = 0.0  # take what is there, and wait no longer

    def close(self) -> None:
        """Kill the processes and remove the files."""
        for process in self._processes:
            process.stop()
        for listener in self._listeners:
            listener.join(timeout=5)
        self._folder.close()
        self.forget_folders()

    def _listen(self, process: WorkerProcess) -> None:
        """Take in the events of a process, and its end."""
        for event in process.events():
            if event["event"] != "checkpoint" or self._folder.set_aside(event["step"]):
                self._said.put(event)
        self._said.put(process.end())

    def _with_one_checkpoint(self, batch: Batch) -> Batch:
        checkpoints = [event for event in batch.events if event["event"] == "checkpoint"]
        for event in checkpoints[:-1]:
            batch.events.remove(event)
            self._folder.remove(aside(event["step"]))
        return batch


def _together(rank: Rank, address: str) -> dict[str, str]:
    """Return the environment in which torch and accelerate find the other processes: gloo on CPUs, NCCL on GPUs."""
    interface = _interface(address)
    return {
        **threads_of(rank.here),
        "OMP_NUM_THREADS": str(max(1, rank.cores // rank.here)),
        "WORLD_SIZE": str(rank.all),
        "LOCAL_WORLD_SIZE": str(rank.here),
        "MASTER_ADDR": rank.address,
        "MASTER_PORT": str(rank.port),
        "GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", interface),
        "NCCL_SOCKET_IFNAME": os.environ.get("NCCL_SOCKET_IFNAME", interface),
    }


def _interface(address: str) -> str:
    """Return the network interface that has ``address``: a host name may lead to one that others do not reach."""
    import psutil  # of accelerate

    found = psutil.net_if_addrs().items()
    return next((name for name, addresses in found if address in {entry.address for entry in addresses}), "")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
