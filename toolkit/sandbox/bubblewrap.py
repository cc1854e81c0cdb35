"""The host's side: a pool of workers in bubblewrap, deadlines, kills, and the judgement of what comes back.

A worker that dies, hangs or answers nonsense costs its own call (Status.LOST): it is killed and its place is filled
again. Only when no worker can be started is the sandbox itself broken (SandboxUnavailable).
"""

import json
import os
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from toolkit.config import SandboxConfig
from toolkit.errors import SandboxUnavailable
from toolkit.sandbox import ExecResult, Invocation, Sandbox, Status, binds, cgroup
from toolkit.sandbox import workspace as workspaces
from toolkit.sandbox.insistent import HARMLESS, Insistent
from toolkit.sandbox.isolation import bwrap_command, user_inside
from toolkit.sandbox.outcome import GRACE_SECONDS, outcome_of
from toolkit.sandbox.replies import Broken, Unfit
from toolkit.sandbox.worker_process import WorkerLost, WorkerProcess, broken

_GRACE_SECONDS = GRACE_SECONDS + 1.0
_CARRYING_SECONDS = 0.05
"""Further seconds of a worker for each MiB of a workspace, which goes there and back."""
_CALLS_PER_WORKER = 5000
_ARGUMENTS_LIMIT = 1 << 20
_REPLY_OVERHEAD = 1 << 16
_MIB = 1 << 20
_SERVER_MIB = 1024
_NOT_CARRIED = (
    "what the call left in the workspace is more than workspace_mib, nested too deep, or named in bytes that are no "
    "text; write less"
)
_GROUP_PROCESSES = 512


class BubblewrapSandbox(Sandbox):
    """See toolkit.sandbox.opening."""

    def __init__(
        self,
        config: SandboxConfig,
        modules: Sequence[str] = (),
        *,
        name: str = "builtin",
        folder: Path = Path(),
        strict: bool = False,
    ) -> None:
        self.config = config
        self.name = name
        size = config.workers or len(os.sched_getaffinity(0))
        self._places = threading.BoundedSemaphore(size)
        self._idle: list[WorkerProcess] = []
        self._lock = threading.Lock()
        self._closed = False
        self._snapshot = tempfile.TemporaryDirectory(prefix="apprentice-modules-")
        try:
            bound = binds.bind_arguments(modules, Path(self._snapshot.name), folder, packages=not strict)
            self._command = _command(config, tuple(modules), bound, strict=strict)
        except BaseException:
            self._snapshot.cleanup()
            raise
        self.groups = cgroup.find_groups()
        # bwrap dies with the thread that started it (PR_SET_PDEATHSIG), so one thread that lives long starts all.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix=f"sandbox-{name}")

    def warm(self) -> None:
        """Have one worker that has run a call. Raises like open_sandbox."""
        Insistent(self).run(HARMLESS)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.kill()
        self._starter.shutdown(wait=False)
        self._snapshot.cleanup()

    def run(self, invocation: Invocation) -> ExecResult:
        source, workspace = invocation.source, invocation.workspace
        try:
            encoded = json.dumps(dict(invocation.arguments), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            return ExecResult(Status.TOOL_FAILED, error_type="ValueError", message=f"arguments are no JSON: {error}")
        if len(encoded) > _ARGUMENTS_LIMIT or len(source or "") > _ARGUMENTS_LIMIT:
            what = "arguments are" if len(encoded) > _ARGUMENTS_LIMIT else "source is"
            message = f"the {what} larger than {_ARGUMENTS_LIMIT >> 10} KiB; pass less"
            return ExecResult(Status.TOOL_FAILED, error_type="ValueError", message=message)
        target = {"source": source, "module": invocation.module, "function": invocation.function}
        timeout = invocation.timeout_seconds or self.config.timeout_seconds
        if workspace is None:
            return self._call(target, encoded, None, timeout)[0]
        with workspaces.locked(workspace):
            try:
                before = workspaces.read(workspace, self.config.workspace_mib * _MIB)
                result, after = self._call(target, encoded, before, timeout)
                if result.ok and after is not None:
                    workspaces.store(workspace, before, after)
            except workspaces.BadWorkspace as error:
                return ExecResult(Status.RESOURCE_LIMIT, message=str(error))
            return result

    def _call(
        self, target: dict[str, Any], encoded: str, files: dict[str, str] | None, timeout: float
    ) -> tuple[ExecResult, dict[str, str] | None]:
        head = json.dumps({**target, "timeout_seconds": timeout, "files": files})
        request = f'{head[:-1]}, "arguments": {encoded}}}'.encode()
        carrying = 0 if files is None else self.config.workspace_mib * _CARRYING_SECONDS
        with self._places:
            worker = self._take()
            started = time.monotonic()
            try:
                reply = worker.send(request, timeout + _GRACE_SECONDS + carrying)
            except WorkerLost as error:
                worker.kill()
                spent = round((time.monotonic() - started) * 1000, 3)
                return ExecResult(Status.LOST, message=f"{error}; try again", duration_ms=spent), None
            except BaseException:
                worker.kill()
                raise
            elapsed = time.monotonic() - started
            self._give_back(worker)
        if isinstance(reply, Broken):
            raise broken(f"sandbox {self.name}: {reply.broken}")
        if isinstance(reply, Unfit):
            raise workspaces.BadWorkspace(reply.unfit)
        result = outcome_of(reply, timeout_seconds=timeout, elapsed_seconds=elapsed, output_kib=self.config.output_kib)
        if result.ok and files is not None and reply.files is None:
            raise workspaces.BadWorkspace(_NOT_CARRIED)
        return result, reply.files

    def _take(self) -> WorkerProcess:
        with self._lock:
            if self._closed:
                raise SandboxUnavailable(f"sandbox {self.name} is closed")
            while self._idle:
                worker = self._idle.pop()
                if worker.alive:
                    return worker
                worker.kill()
        try:
            return self._starter.submit(self._start).result()
        except RuntimeError as error:
            raise SandboxUnavailable(f"sandbox {self.name} is closed") from error

    def _start(self) -> WorkerProcess:
        group = self.groups.make(memory_bytes=_group_bytes(self.config), processes=_GROUP_PROCESSES)
        return WorkerProcess(self._command, _reply_limit(self.config), group)

    def _give_back(self, worker: WorkerProcess) -> None:
        with self._lock:
            if not self._closed and worker.calls < _CALLS_PER_WORKER:
                self._idle.append(worker)
                return
        worker.kill()


def _command(config: SandboxConfig, modules: tuple[str, ...], bound: list[str], *, strict: bool) -> list[str]:
    setup = {
        "path": binds.import_path(packages=not strict),
        "modules": list(modules),
        "strict": strict,
        "become": user_inside(),
        "bounds": {
            "memory_bytes": config.memory_mib * _MIB,
            "workspace_bytes": config.workspace_mib * _MIB,
            "output_bytes": config.output_kib * 1024,
        },
    }
    python = [str(binds.interpreter()), "-S", "-P", "-B", f"{binds.PACKAGE_FOLDER}/toolkit/sandbox/worker.py"]
    environment = ["--setenv", "PYTHONHASHSEED", "0", "--setenv", "PYTHONUTF8", "1"]
    return [*bwrap_command(), *environment, *bound, "--chdir", "/", "--", *python, json.dumps(setup)]


def _group_bytes(config: SandboxConfig) -> int:
    """A server with large modules, a call, the copies of its workspace, and calls that are still ending."""
    return (_SERVER_MIB + 2 * config.memory_mib + 6 * config.workspace_mib) * _MIB


def _reply_limit(config: SandboxConfig) -> int:
    output = config.output_kib * 1024
    return _REPLY_OVERHEAD + 16 * output + 2 * config.workspace_mib * _MIB
