"""Launcher: starts the processes of a training, and passes on their events and their end. Imports no torch."""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from evolver.errors import TrainError

Progress = dict[str, Any]
"""An event of a training: ``event`` is its kind."""
REASON_LINES = 12
"""Number of last lines of a process that are kept to say why it ended."""
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "17179869184"}
"""glibc keeps freed memory for the next step: returned, every step pays its page faults again."""


@dataclass(frozen=True)
class End:
    """The end of a training's processes.

    ``code`` is the exit code of the process that failed, 0 if none did; ``words`` are its last lines. ``killed``:
    from outside, by SIGKILL. ``short_of_memory``: the kernel killed processes for lack of memory meanwhile.
    """

    code: int = 0
    words: str = ""
    killed: bool = False
    short_of_memory: bool = False


class Running(Protocol):
    """A training under way."""

    def events(self) -> Iterator[Progress]:
        """Yield the events as they come, until the processes have ended.

        A checkpoint, and the adapter, is on this machine's disk once its event is yielded. Raises NodeLost.
        """
        ...

    def stop(self) -> None:
        """Kill the processes; ``events`` ends soon. May be called from another thread."""
        ...

    def end(self) -> End:
        """Return the end of the processes, after the last event."""
        ...


class Launcher(Protocol):
    """Starts trainings."""

    def start(self, spec: dict[str, Any]) -> AbstractContextManager[Running]:
        """Start the training that ``spec`` describes (evolver.training.supervisor). No process outlives the context."""
        ...


class NodeLost(TrainError):
    """A machine, or Ray's process on it, is gone; a training on others continues from the checkpoint."""

    def __init__(self, reason: str) -> None:
        super().__init__("killed", reason)


class KilledForMemory(TrainError):
    """The kernel killed a process for lack of memory; smaller packs need less."""

    def __init__(self, reason: str) -> None:
        super().__init__("killed", reason)


def worker_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a training process, with ``settings`` of its own, such as its threads."""
    return {**os.environ, **KEEP_MEMORY, **settings, "HF_HUB_OFFLINE": "1"}


def threads_of(processes: int) -> dict[str, str]:
    """Return the settings of threads for each of the ``processes`` on this machine.

    Threads of one process stay on cores of their own: a scheduler may leave two on one core for minutes, and each
    waits for the other at every product. A launcher gives each process one thread unless told otherwise.
    """
    if processes == 1:
        own = {"OMP_PROC_BIND": "spread", "OMP_PLACES": "cores"}
        return {name: value for name, value in own.items() if name not in os.environ}
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes))}


def kills_for_memory() -> int:
    """Return the number of processes that this machine's kernel killed for lack of memory."""
    try:
        counters = dict(line.split() for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines())
    except OSError:
        return 0
    return int(counters.get("oom_kill", 0))
