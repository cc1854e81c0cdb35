"""A training process on this machine: its start, its events, its last words and its end. Imports no torch."""

import json
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from evolver.training.launcher import REASON_LINES, End, Progress, kills_for_memory, worker_environment

WORKER = "evolver.training.worker"


class WorkerProcess:
    """The worker, or a program that starts several. See Running.

    ``module`` is the name and the arguments of a Python module. ``settings`` are environment variables. The process
    ends when its stdin closes.
    """

    def __init__(self, module: Sequence[str], settings: Mapping[str, str]) -> None:
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
            env=worker_environment(settings),
        )
        self._last_words: deque[str] = deque(maxlen=REASON_LINES)
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()

    def events(self) -> Iterator[Progress]:
        """Yield the events as they come. Other lines are the last words of the process."""
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("{"):
                yield json.loads(line)
            else:
                self._last_words.append(line.rstrip())

    def stop(self) -> None:
        """Kill the process. Closing stdin ends each worker, also those that a launcher started in sessions of their
        own."""
        assert self._process.stdin
        self._process.kill()
        self._process.stdin.close()

    def end(self) -> End:
        """Return the end of the process, after the last event."""
        code = self._process.wait()
        self.close()
        return End(code, " | ".join(self._last_words), code == -9, kills_for_memory() > self._kills)

    def close(self) -> None:
        """Kill what is left of the process."""
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
