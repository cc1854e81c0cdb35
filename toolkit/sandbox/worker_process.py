"""One worker as the host has it: a bwrap with a fork server inside, talked with in frames."""

import contextlib
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import IO, TypeVar

from toolkit.errors import ConfigError, PrerequisiteError, SandboxUnavailable
from toolkit.sandbox.cgroup import Group
from toolkit.sandbox.frames import BadFrame, Late, read_frame, write_frame
from toolkit.sandbox.isolation import NAMESPACES_ADVICE, refused
from toolkit.sandbox.replies import Broken, Ended, ImportFailed, Unfit, read_hello, read_reply

_Said = TypeVar("_Said")
_START_SECONDS = 30.0
_SLOW = f"a worker is not ready within {_START_SECONDS:g} s; see whether a tool module is slow to import"


class WorkerLost(Exception):
    """The worker died, hung or sent nonsense."""


class WorkerHung(WorkerLost):
    """The worker did not answer in time."""


class NamespacesForbidden(SandboxUnavailable):
    """The kernel does not let us isolate anything; the message says what to do."""


def broken(message: str) -> SandboxUnavailable:
    """Return the error for a sandbox that cannot isolate, with the fix where the kernel's rules are the reason."""
    if refused(message):
        return NamespacesForbidden(f"{message}; {NAMESPACES_ADVICE}")
    return SandboxUnavailable(message)


class WorkerProcess:
    """One worker. Not thread-safe: one call at a time. ``group``, if any, is removed with it.

    Raises PrerequisiteError, SandboxUnavailable (NamespacesForbidden), ConfigError for a module that fails to import.
    """

    def __init__(self, command: list[str], reply_limit: int, group: Group | None) -> None:
        self.calls = 0
        self._reply_limit = reply_limit
        self._group = group
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in kill()
        try:
            self._process = subprocess.Popen(
                group.around(command) if group else command,
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
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
        try:
            hello = self._read(read_hello, time.monotonic() + _START_SECONDS)
        except WorkerLost as error:
            self._process.kill()
            self._process.wait()
            complaint = self._complaint() or error
            self.kill()
            if isinstance(error, WorkerHung):
                raise SandboxUnavailable(_SLOW) from None
            raise broken(f"bubblewrap does not start a worker: {complaint}") from None
        if isinstance(hello, ImportFailed):
            self.kill()
            raise ConfigError(f"module {hello.failed} cannot be imported: {hello.message}; correct the module")

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def send(self, request: bytes, seconds: float) -> Ended | Unfit | Broken:
        """Send one request, return the keeper's reply, both within ``seconds``. Raises WorkerLost."""
        self.calls += 1
        deadline = time.monotonic() + seconds
        assert self._process.stdin is not None and self._process.stdout is not None
        if _readable(self._process.stdout.fileno()):
            raise WorkerLost("the worker had ended, or spoke unasked")
        try:
            write_frame(self._process.stdin.fileno(), request, deadline)
        except Late:
            raise WorkerHung("the worker hung") from None
        except OSError:
            raise WorkerLost("the worker had ended") from None
        return self._read(read_reply, deadline)

    def kill(self) -> None:
        """End the worker and everything in it; it dies with its bwrap."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._process.wait()
        self._errors.close()
        if self._group is not None:
            self._group.remove()

    def _read(self, shape: Callable[[bytes], _Said], deadline: float) -> _Said:
        assert self._process.stdout is not None
        try:
            content = read_frame(self._process.stdout.fileno(), self._reply_limit, deadline)
            if content is None:
                raise WorkerLost("the worker died")
            return shape(content)
        except Late:
            raise WorkerHung("the worker hung") from None
        except BadFrame as error:
            raise WorkerLost(f"the worker sent {error}") from None

    def _complaint(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read(4096).decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""


def _readable(descriptor: int) -> bool:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(0))
