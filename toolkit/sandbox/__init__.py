"""Running one tool call where it can do no harm.

``Sandbox`` is the protocol, ``open_sandbox`` the real one (bubblewrap outside, a warm fork server inside). What comes
out of it is an untrusted claim; status, duration and the reason for a kill are the host's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from toolkit.errors import PrerequisiteError

if TYPE_CHECKING:
    from toolkit.config import SandboxConfig
    from toolkit.sandbox.bubblewrap import BubblewrapSandbox


class Status(StrEnum):
    """How a call ended, as the host judged it. The values but ``ok`` are kinds of ToolError.

    LOST says nothing about the call: its worker died, hung or spoke nonsense.
    """

    OK = "ok"
    TOOL_FAILED = "tool_failed"
    TIMEOUT = "timeout"
    RESOURCE_LIMIT = "resource_limit"
    BAD_RESULT = "bad_result"
    CRASHED = "crashed"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What came of one call. ``value`` is JSON and only meaningful for OK; ``message`` says why otherwise.

    ``error_type`` is the name of the exception that the tool raised. ``stdout`` and ``stderr`` are what it printed, cut
    at the limit, as written: neutralise before showing.
    """

    status: Status
    value: Any = None
    error_type: str = ""
    message: str = ""
    stdout: str = ""
    stderr: str = ""
    duration_ms: float = 0.0

    @property
    def ok(self) -> bool:
        return self.status is Status.OK


class Runner(Protocol):
    """Runs functions somewhere else. Thread-safe; as a context manager, closes itself. Raises SandboxUnavailable only
    where isolation itself is broken."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def run(
        self,
        module: str,
        function: str,
        arguments: Mapping[str, Any],
        *,
        workspace: Path | None = None,
        timeout_seconds: float | None = None,
    ) -> ExecResult:
        """Call ``module.function(**arguments)``.

        ``workspace`` is a folder of the host that the call sees as /workspace; what a successful call left there is
        stored back, a failed one changes nothing. None: /workspace is empty and thrown away. ``timeout_seconds``
        replaces the configured deadline.
        """
        ...

    def close(self) -> None:
        """End all workers. Closing twice is harmless."""
        ...


class CodeRunner(Protocol):
    """Runs code that nobody has looked at. Thread-safe; raises as a Runner does."""

    def run_source(
        self, source: str, function: str, arguments: Mapping[str, Any], *, timeout_seconds: float | None = None
    ) -> ExecResult:
        """Execute the Python text ``source``, then call its ``function(**arguments)``."""
        ...

    def close(self) -> None:
        """End all workers. Closing twice is harmless."""
        ...


class Sandbox(Runner, CodeRunner, Protocol):
    """A Runner that also takes code."""

    def run_source(
        self,
        source: str,
        function: str,
        arguments: Mapping[str, Any],
        *,
        workspace: Path | None = None,
        timeout_seconds: float | None = None,
    ) -> ExecResult:
        """As a CodeRunner, in ``workspace`` as ``run`` has it."""
        ...


def open_sandbox(
    config: "SandboxConfig",
    modules: Sequence[str] = (),
    *,
    check: bool = True,
    name: str = "builtin",
    folder: Path = Path(),
    strict: bool = False,
) -> "BubblewrapSandbox":
    """Start the sandbox with ``modules`` imported in its workers, and try to escape from it (``check``).

    A module outside the standard library, site-packages and this package is looked for in ``folder`` first, and a copy
    of its file or package folder is bound read-only. ``name`` names the trust class in messages. ``strict`` is for code
    that nobody has looked at: no installed packages, no threads, fewer system calls. Use as a context manager. Raises
    PrerequisiteError (bubblewrap missing, user namespaces forbidden), SandboxUnavailable (an escape succeeded),
    ConfigError (a module fails to import).
    """
    from toolkit.sandbox.bubblewrap import BubblewrapSandbox
    from toolkit.sandbox.self_check import require_sound
    from toolkit.sandbox.worker_process import NamespacesForbidden

    sandbox = BubblewrapSandbox(config, modules, name=name, folder=folder, strict=strict)
    try:
        if check:
            require_sound(sandbox)
        else:
            sandbox.warm()
    except NamespacesForbidden as error:
        sandbox.close()
        raise PrerequisiteError(str(error)) from error
    except BaseException:
        sandbox.close()
        raise
    return sandbox
