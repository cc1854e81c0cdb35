"""Launcher of training processes on this machine: one alone, or several through accelerate."""

import json
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from evolver.training.launcher import (
    REASON_LINES,
    End,
    Progress,
    Running,
    kills_for_memory,
    threads_of,
    worker_environment,
)

WORKER = "evolver.training.worker"


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
            running = _LocalProcesses([*_accelerate(self.processes), WORKER, str(path)], threads_of(self.processes))
            try:
                yield running
            finally:
                running.close()


class _LocalProcesses:
    """The worker, or accelerate's launcher and the workers below it."""

    def __init__(self, module: list[str], threads: dict[str, str]) -> None:
        self._kills = kills_for_memory()
        self._process = subprocess.Popen(
            [sys.executable, "-m", *module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            env=worker_environment(threads),
        )
        self._last_words: deque[str] = deque(maxlen=REASON_LINES)
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()

    def events(self) -> Iterator[Progress]:
        """See Running. A launcher's own lines are its last words."""
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("{"):
                yield json.loads(line)
            else:
                self._last_words.append(line.rstrip())

    def stop(self) -> None:
        """See Running. Closing stdin ends each worker, also those that a launcher started in sessions of their own."""
        assert self._process.stdin
        self._process.kill()
        self._process.stdin.close()

    def end(self) -> End:
        """See Running."""
        code = self._process.wait()
        self.close()
        words = " | ".join(self._last_words)
        killed = code == -9 or any("SIGKILL" in line for line in self._last_words)  # in the words of the launcher
        return End(code, words, killed, kills_for_memory() > self._kills)

    def close(self) -> None:
        """Kill what is left of the processes."""
        assert self._process.stdout and self._process.stderr
        self.stop()
        self._process.wait()
        self._reader.join(timeout=5)
        self._process.stdout.close()
        self._process.stderr.close()

    def _collect(self) -> None:
        stream: IO[str] | None = self._process.stderr
        assert stream
        for line in stream:
            self._last_words.append(line.rstrip())


def _accelerate(processes: int) -> list[str]:
    if processes == 1:
        return []
    count = ["--num_processes", str(processes), "--num_machines", "1", "--main_process_port", "0"]
    plain = ["--multi_gpu", "--mixed_precision", "no", "--dynamo_backend", "no"]
    return ["accelerate.commands.launch", *plain, *count, "-m"]
