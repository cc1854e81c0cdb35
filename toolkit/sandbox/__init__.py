"""Running one tool call where it can do no harm.

``Sandbox`` is the protocol; ``toolkit.sandbox.opening`` starts the real one (bubblewrap outside, a warm fork server
inside). A result is an untrusted claim; status, duration and the reason for a kill are the host's own. Standard library
only: this module is imported inside the sandbox too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, Self


class Status(StrEnum):
    """Outcome of a call, as the host judged it. The values but ``ok`` are kinds of ToolError.

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
    """Outcome of one call. ``value`` is JSON and only meaningful for OK; ``message`` says why otherwise.

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


@dataclass(frozen=True, slots=True)
class Invocation:
    """A call of ``module.function(**arguments)``, or of the function of the Python text ``source``.

    ``workspace`` is a folder of the host that the call sees as /workspace; what a successful call left there is stored
    back, a failed one changes nothing. None: /workspace is empty and thrown away. ``timeout_seconds`` replaces the
    configured deadline.
    """

    module: str
    function: str
    arguments: Mapping[str, Any]
    source: str | None = None
    workspace: Path | None = field(default=None, kw_only=True)
    timeout_seconds: float | None = field(default=None, kw_only=True)

    @classmethod
    def of_source(
        cls,
        source: str,
        function: str,
        arguments: Mapping[str, Any],
        *,
        workspace: Path | None = None,
        timeout_seconds: float | None = None,
    ) -> Self:
        """Return the invocation that executes the Python text ``source``, then calls its ``function``."""
        return cls("", function, arguments, source, workspace=workspace, timeout_seconds=timeout_seconds)


class Runner(Protocol):
    """Runs functions somewhere else. Thread-safe; as a context manager, closes itself."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def run(self, invocation: Invocation) -> ExecResult:
        """Return the result of the call. Raises SandboxUnavailable only where isolation itself is broken."""
        ...

    def close(self) -> None:
        """End all workers. Closing twice is harmless."""
        ...


class Sandbox(Runner, Protocol):
    """A Runner of any module's functions and of any source."""
