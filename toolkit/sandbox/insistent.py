"""A sandbox for callers to whom every result is a verdict, as to the evolver: a lost worker must not pass for one."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from toolkit.errors import SandboxUnavailable
from toolkit.sandbox import ExecResult, Sandbox, Status


class Insistent(Sandbox):
    """``inner``, but a call whose worker was lost is made once more: nothing of the first is left. Where that is lost
    too, the sandbox is broken (SandboxUnavailable), so no result is LOST. Closing it closes ``inner``."""

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
        return self._twice(
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
        return self._twice(
            function,
            lambda: self._inner.run_source(
                source, function, arguments, workspace=workspace, timeout_seconds=timeout_seconds
            ),
        )

    def close(self) -> None:
        self._inner.close()

    @staticmethod
    def _twice(function: str, call: Callable[[], ExecResult]) -> ExecResult:
        result = call()
        if result.status is Status.LOST:
            result = call()
        if result.status is Status.LOST:
            raise SandboxUnavailable(f"a call of {function} was lost twice: {result.message}")
        return result
