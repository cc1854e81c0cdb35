"""Code that a model wrote, in the real pool of its own."""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.adversarial.conftest import descendants, settle
from tests.fakes.sandbox import InProcessSandbox
from toolkit.config import MadeCodeConfig, SandboxConfig, ToolkitConfig, ToolsConfig
from toolkit.errors import SandboxUnavailable
from toolkit.execute import Executor, open_executor, tool_result
from toolkit.made import APPROVED, MadeCode
from toolkit.made_tools import pool_of
from toolkit.registry import ToolRegistry
from toolkit.sandbox import ExecResult, Invocation, Sandbox, self_check
from toolkit.sandbox.bubblewrap import BubblewrapSandbox
from toolkit.sandbox.insistent import Insistent
from toolkit.sandbox.made_code import ModelMadePool
from toolkit.tool import ToolCall, ToolErrorKind, ToolResult

LIMITS = MadeCodeConfig(memory_mib=64, output_kib=1, workers=1)
CONFIG = ToolkitConfig(sandbox=SandboxConfig(workers=1, made_code=LIMITS))


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    with open_executor(CONFIG) as opened:
        yield opened


def _run(executor: Executor, body: str, *, head: str = "", seconds: float = 60.0, **arguments: object) -> ToolResult:
    source = f"{head}\ndef made({', '.join(arguments)}):\n    {body}\n"
    return _run_source(executor, source, "made", arguments, seconds)


def _run_source(
    executor: Executor, source: str, function: str, arguments: dict[str, Any], seconds: float = 60.0
) -> ToolResult:
    ran = pool_of(executor).run(Invocation.of_source(source, function, arguments, timeout_seconds=seconds))
    return tool_result(ToolCall(id="made", name=function, arguments=arguments), ran)


def _inside(executor: Executor) -> BubblewrapSandbox:
    pool = pool_of(executor)
    assert isinstance(pool, ModelMadePool)
    opened = pool._sandbox
    assert isinstance(opened, BubblewrapSandbox)
    return opened


def test_a_function_is_run_and_has_the_result_of_a_tool_call(executor: Executor) -> None:
    body = "return {'sum': sum(numbers), 'day': datetime.date(2024, 2, 29)}"
    result = _run(executor, body, head="import datetime", numbers=[1, 2])
    assert (result.ok, result.name, result.value) == (True, "made", {"sum": 3, "day": "2024-02-29"})
    assert result.duration_ms > 0


@pytest.mark.parametrize(
    ("head", "body", "kind", "message"),
    [
        ("", "while True: pass", ToolErrorKind.TIMEOUT, "no result within 0.3 s"),
        ("while True: pass", "return 1", ToolErrorKind.TIMEOUT, "no result within 0.3 s"),
        ("", "return len(bytearray(1 << 30))", ToolErrorKind.RESOURCE_LIMIT, "out of memory"),
        ("import socket", "socket.socket()", ToolErrorKind.TOOL_FAILED, "PermissionError"),
        ("import socket", "socket.socketpair()", ToolErrorKind.TOOL_FAILED, "PermissionError"),
        ("", "open('/etc/escaped', 'w')", ToolErrorKind.TOOL_FAILED, "OSError: [Errno 30] Read-only file system"),
        ("", "open('/usr/lib/escaped', 'w')", ToolErrorKind.TOOL_FAILED, "OSError: [Errno 30] Read-only file system"),
        ("", "open('/tmp/full', 'wb').write(bytes(2 << 20))", ToolErrorKind.RESOURCE_LIMIT, "OSError: a file"),
        ("import threading", "threading.Thread(target=print).start()", ToolErrorKind.TOOL_FAILED, "RuntimeError"),
        ("import os", "os.fork()", ToolErrorKind.TOOL_FAILED, "PermissionError"),
        ("import os", "os.link('/tmp', '/tmp/x')", ToolErrorKind.TOOL_FAILED, "PermissionError"),
        ("import pydantic", "return 1", ToolErrorKind.TOOL_FAILED, "ModuleNotFoundError"),
        ("import os", "os._exit(0)", ToolErrorKind.CRASHED, "the tool ended without a result"),
        ("", "return 'x' * 2000", ToolErrorKind.BAD_RESULT, "the result is larger than 1 KiB"),
        ("", "return object()", ToolErrorKind.TOOL_FAILED, "TypeError: the result is a object"),
        ("no python", "return 1", ToolErrorKind.TOOL_FAILED, "SyntaxError"),
    ],
)  # fmt: skip
def test_what_the_code_does_is_its_result(
    executor: Executor, head: str, body: str, kind: ToolErrorKind, message: str
) -> None:
    seconds = 0.3 if kind is ToolErrorKind.TIMEOUT else 60.0
    error = _run(executor, body, head=head, seconds=seconds).error
    assert error is not None
    assert error.kind is kind
    assert error.message.startswith(message)
    assert _run(executor, "return 1").value == 1


def test_a_function_that_is_not_in_the_source_is_the_codes_failure(executor: Executor) -> None:
    error = _run_source(executor, "value = 1", "absent", {}).error
    assert error is not None
    assert (error.kind, "absent" in error.message) == (ToolErrorKind.TOOL_FAILED, True)


def test_nothing_passes_from_one_call_to_the_next(executor: Executor) -> None:
    head = "import builtins, os\nseen = [getattr(builtins, 'left', 0), *os.listdir('/tmp'), *os.listdir('/workspace')]"
    body = "builtins.left = 1; open('/tmp/left', 'w').close(); return seen"
    assert [_run(executor, body, head=head).value for _ in range(3)] == [[0]] * 3


def test_a_dead_worker_costs_its_own_call_only(executor: Executor) -> None:
    assert _run(executor, "return 1").value == 1
    (worker,) = _inside(executor)._idle
    before = worker.calls
    found: list[ToolResult] = []
    waiting = threading.Thread(target=lambda: found.append(_run(executor, "while True: pass", seconds=60)))
    waiting.start()
    assert settle(lambda: worker.calls > before)
    os.kill(worker._process.pid, signal.SIGKILL)
    waiting.join()
    assert found[0].error is not None
    assert found[0].error.kind is ToolErrorKind.LOST
    assert _run(executor, "return 2").value == 2
    assert executor.execute(ToolCall(id="1", name="count_words", arguments={"text": "a b"})).value == 2


class FirstHangs(Sandbox):
    """``inner``; the first call ends only when its worker is killed."""

    def __init__(self, inner: Sandbox) -> None:
        self._inner, self._first = inner, True

    def run(self, invocation: Invocation) -> ExecResult:
        if self._first:
            self._first = False
            invocation = Invocation.of_source("def made():\n    while True: pass", "made", {}, timeout_seconds=60)
        return self._inner.run(invocation)

    def close(self) -> None:
        self._inner.close()


def test_to_who_insists_a_dead_worker_costs_nothing() -> None:
    """Wherever a call runs that a cycle makes: the worker is killed in the middle of it."""
    tools = ToolsConfig(builtin=False, python_modules=("time",))
    with open_executor(ToolkitConfig(sandbox=CONFIG.sandbox, tools=tools), insist=True) as own:
        assert _run(own, "return 1").value == 1
        pools = [getattr(pool_of(own), "_sandbox"), own._sandbox, own._others["python"]]  # noqa: B009
        assert [type(pool) for pool in pools] == [Insistent] * 3
        assert len({id(pool) for pool in pools}) == 3
        for pool in pools:
            inside = pool._inner
            pool._inner = FirstHangs(inside)
            (worker,) = inside._idle
            before = worker.calls
            with ThreadPoolExecutor(1) as caller:
                called = caller.submit(pool.run, Invocation.of_source("def made(): return 1", "made", {}))
                assert settle(lambda worker=worker, before=before: worker.calls > before)
                os.kill(worker._process.pid, signal.SIGKILL)
                assert called.result().value == 1
            assert inside._idle[0] is not worker


def test_the_pool_is_apart_and_has_its_own_limits(executor: Executor) -> None:
    assert _run(executor, "return 1").value == 1
    inside = _inside(executor)
    assert inside is not executor._sandbox
    assert (inside.name, inside.config.memory_mib, inside.config.output_kib) == ("model-made", 64, 1)
    builtin = executor._sandbox
    source = "import threading\ndef f():\n    threading.Thread(target=int).start()\n    return 1"
    assert builtin.run(Invocation.of_source(source, "f", {})).value == 1, (
        "what is denied above is denied by the tighter profile"
    )
    assert _run(executor, "return sorted(os.listdir('/opt'))", head="import os").value == ["package"]


def test_the_self_check_holds_here_too(executor: Executor) -> None:
    assert _run(executor, "return 1").value == 1
    assert [each for each in self_check.attempt_all(_inside(executor)) if not each.held] == []


def test_it_opens_at_the_first_call_and_closes_with_the_executor() -> None:
    config = ToolkitConfig(sandbox=CONFIG.sandbox, tools=ToolsConfig(builtin=False))
    with open_executor(config) as own:
        pool = pool_of(own)
        assert isinstance(pool, ModelMadePool)
        assert pool._sandbox is None
        assert _run(own, "return 1").value == 1
        pids = [worker._process.pid for worker in _inside(own)._idle]
        pids += [below for pid in pids for below in descendants(pid)]
    assert len(pids) > 1
    assert settle(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    with pytest.raises(SandboxUnavailable, match="sandbox model-made is closed"):
        _run(own, "return 1")


def test_a_pool_that_does_not_hold_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    harmless = self_check._Attempt("add", "def attempt():\n    return 1 + 1", lambda result: result.value != 2)
    with open_executor(CONFIG) as own:
        monkeypatch.setattr(self_check, "_ATTEMPTS", (harmless,))
        for _ in range(2):
            with pytest.raises(SandboxUnavailable, match=r"does not hold: add \(returned 2\)"):
                _run(own, "return 1")


def test_without_a_pool_nothing_is_run() -> None:
    with pytest.raises(SandboxUnavailable, match="there is no pool"):
        _run(Executor(ToolRegistry(), InProcessSandbox()), "return 1")


def test_the_fake_is_one_too() -> None:
    fake = InProcessSandbox()
    assert _run(Executor(ToolRegistry(), fake, {APPROVED: MadeCode([], fake)}), "return value + 1", value=2).value == 3
