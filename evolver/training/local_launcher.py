"""Launcher of training processes on this machine: one alone, or several through accelerate."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evolver.training.launcher import End, Running, threads_of
from evolver.training.worker_process import WORKER, WorkerProcess


@dataclass(frozen=True)
class LocalLauncher:
    """Starts ``processes``; several are started by accelerate, and each computes its share of every step."""

    processes: int

    @contextmanager
    def start(self, spec: dict[str, Any]) -> Iterator[Running]:
        """See Launcher."""
        with tempfile.TemporaryDirectory(prefix="apprentice-train-") as folder:
            path = Path(folder) / "spec.json"
            path.write_text(json.dumps(spec), encoding="utf-8")
            module = [*_accelerate(self.processes), WORKER, str(path)]
            with closing(_LocalProcesses(module, threads_of(self.processes))) as running:
                yield running


class _LocalProcesses(WorkerProcess):
    """The worker, or accelerate's launcher and the workers below it."""

    def end(self) -> End:
        """See Running. The launcher says it in its last words when a worker was killed."""
        end = super().end()
        return replace(end, killed=end.killed or "SIGKILL" in end.words)


def _accelerate(processes: int) -> list[str]:
    if processes == 1:
        return []
    count = ["--num_processes", str(processes), "--num_machines", "1", "--main_process_port", "0"]
    plain = ["--multi_gpu", "--mixed_precision", "no", "--dynamo_backend", "no"]
    return ["accelerate.commands.launch", *plain, *count, "-m"]
