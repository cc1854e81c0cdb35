"""The host's side: a pool of workers in bubblewrap, deadlines, kills, and the judgement of what comes back.

A worker that dies, hangs or answers nonsense costs its own call: it is killed and its place is filled again. Only when
no worker can be started is the sandbox itself broken (SandboxUnavailable).
"""

import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from toolkit.config import SandboxConfig
from toolkit.errors import ConfigError, PrerequisiteError, SandboxUnavailable
from toolkit.sandbox import ExecResult, Status, binds
from toolkit.sandbox import workspace as workspaces
from toolkit.sandbox.frames import BadFrame, read_frame, write_frame
from toolkit.sandbox.judge import GRACE_SECONDS, judge, timed_out

SANDBOX_USER = 64321
"""The uid of calls where the host runs as root: no account, so nothing on the host belongs to it."""
_START_SECONDS = 30.0
_GRACE_SECONDS = GRACE_SECONDS + 1.0
_CALLS_PER_WORKER = 5000
_ARGUMENTS_LIMIT = 1 << 20
_REPLY_OVERHEAD = 1 << 16
_MIB = 1 << 20


class _WorkerLost(Exception):
    """The worker died, hung or sent nonsense."""


class BubblewrapSandbox:
    """See toolkit.sandbox.open_sandbox."""

    def __init__(self, config: SandboxConfig, modules: Sequence[str] = (), *, name: str = "builtin") -> None:
        self.config = config
        self.name = name
        self._modules = tuple(modules)
        size = config.workers or len(os.sched_getaffinity(0))
        self._places = threading.BoundedSemaphore(size)
        self._idle: list[_Worker] = []
        self._lock = threading.Lock()
        self._closed = False
        self._snapshot = tempfile.TemporaryDirectory(prefix="apprentice-modules-")
        try:
            self._command = _command(config, self._modules, Path(self._snapshot.name))
        except BaseException:
            self._snapshot.cleanup()
            raise
        # bwrap dies with the thread that started it (PR_SET_PDEATHSIG), so one thread that lives long starts all.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix=f"sandbox-{name}")

    def __enter__(self) -> "BubblewrapSandbox":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def warm(self) -> None:
        """Have one worker ready. Raises like open_sandbox."""
        with self._places:
            self._give_back(self._take())

    def run(
        self,
        module: str,
        function: str,
        arguments: Mapping[str, Any],
        *,
        workspace: Path | None = None,
        timeout_seconds: float | None = None,
    ) -> ExecResult:
        target = {"source": None, "module": module, "function": function}
        return self._run(target, arguments, workspace, timeout_seconds or self.config.timeout_seconds)

    def run_source(
        self,
        source: str,
        function: str,
        arguments: Mapping[str, Any],
        *,
        workspace: Path | None = None,
        timeout_seconds: float | None = None,
    ) -> ExecResult:
        target = {"source": source, "module": "", "function": function}
        return self._run(target, arguments, workspace, timeout_seconds or self.config.timeout_seconds)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.kill()
        self._starter.shutdown(wait=False)
        self._snapshot.cleanup()

    def _run(
        self, target: dict[str, Any], arguments: Mapping[str, Any], workspace: Path | None, timeout: float
    ) -> ExecResult:
        try:
            encoded = json.dumps(dict(arguments), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            return ExecResult(Status.TOOL_FAILED, error_type="ValueError", message=f"arguments are no JSON: {error}")
        if len(encoded) > _ARGUMENTS_LIMIT:
            message = f"the arguments are larger than {_ARGUMENTS_LIMIT >> 10} KiB; pass less"
            return ExecResult(Status.TOOL_FAILED, error_type="ValueError", message=message)
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
        with self._places:
            worker = self._take()
            started = time.monotonic()
            try:
                reply = worker.ask(request, timeout + _GRACE_SECONDS)
            except _WorkerLost as error:
                worker.kill()
                elapsed = time.monotonic() - started
                if elapsed > timeout:
                    return timed_out(timeout, elapsed), None
                return ExecResult(Status.CRASHED, message=str(error), duration_ms=round(elapsed * 1000, 3)), None
            except BaseException:
                worker.kill()
                raise
            elapsed = time.monotonic() - started
            self._give_back(worker)
        if "broken" in reply:
            raise SandboxUnavailable(f"sandbox {self.name}: {reply['broken']}; {_NAMESPACES_ADVICE}")
        result = judge(reply, timeout_seconds=timeout, elapsed_seconds=elapsed, output_kib=self.config.output_kib)
        if result.ok and files is not None and reply["files"] is None:
            raise workspaces.BadWorkspace("the call left more than workspace_mib in the workspace; write less")
        return result, reply["files"]

    def _take(self) -> "_Worker":
        with self._lock:
            if self._closed:
                raise SandboxUnavailable(f"sandbox {self.name} is closed")
            while self._idle:
                worker = self._idle.pop()
                if worker.alive:
                    return worker
                worker.kill()
        try:
            return self._starter.submit(_Worker, self._command, _reply_limit(self.config)).result()
        except RuntimeError as error:
            raise SandboxUnavailable(f"sandbox {self.name} is closed") from error

    def _give_back(self, worker: "_Worker") -> None:
        with self._lock:
            if not self._closed and worker.calls < _CALLS_PER_WORKER:
                self._idle.append(worker)
                return
        worker.kill()


class _Worker:
    """One bwrap with a fork server inside. Not thread-safe: one call at a time."""

    def __init__(self, command: list[str], reply_limit: int) -> None:
        self.calls = 0
        self._reply_limit = reply_limit
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in kill()
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env={},
                cwd="/",
                close_fds=True,
                start_new_session=True,
            )
        except OSError as error:
            self._errors.close()
            raise PrerequisiteError(f"bubblewrap does not start: {error}; install it anew") from error
        try:
            hello = self._read(_START_SECONDS)
        except _WorkerLost:
            self._process.kill()
            self._process.wait()
            complaint = self._complaint()
            self.kill()
            raise SandboxUnavailable(f"bubblewrap does not start a worker: {complaint}; {_NAMESPACES_ADVICE}") from None
        if "failed" in hello:
            self.kill()
            raise ConfigError(f"module {hello['failed']} cannot be imported: {hello['message']}; correct the module")

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: bytes, seconds: float) -> dict[str, Any]:
        """Send one request, return the keeper's reply. Raises _WorkerLost."""
        self.calls += 1
        assert self._process.stdin is not None
        try:
            write_frame(self._process.stdin.fileno(), request)
        except OSError:
            raise _WorkerLost("the worker had ended") from None
        return self._read(seconds)

    def kill(self) -> None:
        """End the worker and everything in it; it dies with its bwrap."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._process.wait()
        self._errors.close()

    def _read(self, seconds: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        if not select_readable(descriptor, seconds):
            raise _WorkerLost("the worker hung")
        try:
            content = read_frame(descriptor, self._reply_limit)
            if content is None:
                raise _WorkerLost("the worker died")
            return json.loads(content)
        except (BadFrame, ValueError) as error:
            raise _WorkerLost(f"the worker sent {error}") from None

    def _complaint(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read(4096).decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "no message"


def select_readable(descriptor: int, seconds: float) -> bool:
    """Whether ``descriptor`` has data or has ended within ``seconds``."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(seconds * 1000))


_NAMESPACES_ADVICE = (
    "allow unprivileged user namespaces (Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0; Debian: sysctl "
    "kernel.unprivileged_userns_clone=1; Docker: --security-opt seccomp=unconfined) or run as root"
)


def _command(config: SandboxConfig, modules: tuple[str, ...], snapshot: Path) -> list[str]:
    program = shutil.which("bwrap")
    if program is None:
        raise PrerequisiteError("bubblewrap is missing; install it (Debian, Ubuntu: apt-get install bubblewrap)")
    root = os.geteuid() == 0
    setup = {
        "path": binds.import_path(),
        "modules": list(modules),
        "become": SANDBOX_USER if root else None,
        "bounds": {
            "memory_bytes": config.memory_mib * _MIB,
            "workspace_bytes": config.workspace_mib * _MIB,
            "output_bytes": config.output_kib * 1024,
        },
    }
    isolation = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    isolation += ["--die-with-parent", "--new-session", "--hostname", "sandbox", "--cap-drop", "ALL"]
    isolation += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"] if root else ["--unshare-user"]
    environment = ["--clearenv", "--setenv", "PYTHONHASHSEED", "0", "--setenv", "PYTHONUTF8", "1"]
    python = [str(binds.interpreter()), "-S", "-P", "-B", f"{binds.PACKAGE_FOLDER}/toolkit/sandbox/worker.py"]
    return [
        program,
        *isolation,
        *environment,
        *binds.bind_arguments(modules, snapshot),
        "--chdir",
        "/",
        "--",
        *python,
        json.dumps(setup),
    ]


def _reply_limit(config: SandboxConfig) -> int:
    output = config.output_kib * 1024
    return _REPLY_OVERHEAD + 16 * output + 2 * config.workspace_mib * _MIB
