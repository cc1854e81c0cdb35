"""A sandbox without isolation, for tests of what surrounds it; passes the same contract tests as the real one."""

import contextlib
import importlib
import json
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.sandbox import ExecResult, Invocation, Sandbox, Status
from toolkit.sandbox.frames import BadFrame, parse_strict
from toolkit.sandbox.plain import encode_result


class InProcessSandbox(Sandbox):
    """Runs calls in this process, one at a time, in the workspace as working directory. No deadline."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.calls: list[tuple[str, str]] = []

    def run(self, invocation: Invocation) -> ExecResult:
        if invocation.source is not None:
            names: dict[str, Any] = {}
            exec(compile(invocation.source, "<made>", "exec"), names)
            found: Any = names[invocation.function]
            return self._call(found, ("made", invocation.function), invocation.arguments, invocation.workspace)
        found = importlib.import_module(invocation.module)
        for part in invocation.function.split("."):
            found = getattr(found, part)
        named = (invocation.module, invocation.function)
        return self._call(found, named, invocation.arguments, invocation.workspace)

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
