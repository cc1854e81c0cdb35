"""A sandbox for callers to whom every result is a verdict, as to the evolver: a broken one must not pass for one."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from toolkit.errors import SandboxUnavailable
from toolkit.sandbox import ExecResult, Sandbox, Status

HARMLESS = ("operator", "index")
"""A function that every worker has; without its argument it fails at once."""


class Insistent(Sandbox):
    """``inner``, but a call whose worker was lost is made again: nothing of the first is left. Closing it closes
    ``inner``.

    Lost twice, a harmless call is made. Where that is lost too, the sandbox is broken (SandboxUnavailable); where it is
    not, and the call is lost a third time, the call does it: a result that is LOST says so of the call.
    """

    def __init__(self, inner: Sandbox) -> None:
        self._inner = inner

    def run(
        self,
        module: str,
        function: str,
        arguments: Mapping[str, Any],
        *,
        workspace: Path | None = None,
        timeout_seconds: float | None = None,
    ) -> ExecResult:
        return self._insist(
            function,
            lambda: self._inner.run(module, function, arguments, workspace=workspace, timeout_seconds=timeout_seconds),
        )

    def run_source(
        self,
        source: str,
        function: str,
        arguments: Mapping[str, Any],
        *,
        workspace: Path | None = None,
        timeout_seconds: float | None = None,
    ) -> ExecResult:
        return self._insist(
            function,
            lambda: self._inner.run_source(
                source, function, arguments, workspace=workspace, timeout_seconds=timeout_seconds
            ),
        )

    def close(self) -> None:
        self._inner.close()

    def _insist(self, function: str, call: Callable[[], ExecResult]) -> ExecResult:
        result = call()
        if result.status is Status.LOST:
            result = call()
        if result.status is Status.LOST:
            if self._inner.run(*HARMLESS, {}).status is Status.LOST:
                raise SandboxUnavailable(
                    f"a call of {function} was lost twice, a harmless one after it too: {result.message}"
                )
            result = call()
        return result
