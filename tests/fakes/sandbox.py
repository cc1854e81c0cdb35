"""A sandbox without isolation, for tests of what surrounds it; passes the same contract tests as the real one."""

import contextlib
import importlib
import json
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.sandbox import ExecResult, Sandbox, Status
from toolkit.sandbox.frames import BadFrame, parse_strict
from toolkit.sandbox.plain import encode_result


class InProcessSandbox(Sandbox):
    """Runs calls in this process, one at a time, in the workspace as working directory. No deadline."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.calls: list[tuple[str, str]] = []

    def run(
        self,
        module: str,
        function: str,
        arguments: Mapping[str, Any],
        *,
        workspace: Path | None = None,
        timeout_seconds: float | None = None,
    ) -> ExecResult:
        found: Any = importlib.import_module(module)
        for part in function.split("."):
            found = getattr(found, part)
        return self._call(found, (module, function), arguments, workspace)

    def run_source(
        self,
        source: str,
        function: str,
        arguments: Mapping[str, Any],
        *,
        workspace: Path | None = None,
        timeout_seconds: float | None = None,
    ) -> ExecResult:
        names: dict[str, Any] = {}
        exec(compile(source, "<made>", "exec"), names)
        return self._call(names[function], ("made", function), arguments, workspace)

    def close(self) -> None:
        """Nothing to end."""

    def _call(
        self, function: Any, name: tuple[str, str], arguments: Mapping[str, Any], workspace: Path | None
    ) -> ExecResult:
        arguments = json.loads(json.dumps(dict(arguments)))
        with self._lock, tempfile.TemporaryDirectory() as empty:
            self.calls.append(name)
            folder = workspace or Path(empty)
            folder.mkdir(parents=True, exist_ok=True)
            with contextlib.chdir(folder):
                try:
                    claim = encode_result(function(**arguments))
                    return ExecResult(Status.OK, value=parse_strict(claim))
                except BadFrame as error:
                    return ExecResult(Status.BAD_RESULT, message=str(error))
                except MemoryError:
                    return ExecResult(Status.RESOURCE_LIMIT, error_type="MemoryError", message="out of memory")
                except Exception as error:  # noqa: BLE001 - whatever the tool raises is its result
                    return ExecResult(Status.TOOL_FAILED, error_type=type(error).__name__, message=str(error))


class LosingSandbox(InProcessSandbox):
    """Loses the workers of its next ``losing`` calls, and those of each call of the function ``deadly``."""

    def __init__(self, losing: int, *, deadly: str = "") -> None:
        super().__init__()
        self.losing = losing
        self.deadly = deadly

    def _call(
        self, function: Any, name: tuple[str, str], arguments: Mapping[str, Any], workspace: Path | None
    ) -> ExecResult:
        if self.losing > 0 or name[1] == self.deadly:
            self.losing -= 1
            self.calls.append(name)
            return ExecResult(Status.LOST, message="the worker died; try again")
        return super()._call(function, name, arguments, workspace)
