"""Attacks 20 to 31: processes and time."""

import os
import signal
from pathlib import Path

import pytest

from tests.adversarial.conftest import Target, descendants, settle
from toolkit.sandbox import Status

LATE = """
import os, time
def late():
    time.sleep(0.05)
    os.write(3, b'{"value": "late"}')
    time.sleep(60)
START
return "first"
"""
HAS_VFORK = os.uname().machine == "x86_64"
"""Where not, docs/sandbox.md says so."""


def test_20_kill_everything(target: Target) -> None:
    result = target.attack("import os\nos.kill(-1, 9)\nreturn 'sent'")
    assert target.denies(result) or (result.status, result.error_type) == (Status.TOOL_FAILED, "ProcessLookupError")


@pytest.mark.parametrize("call", ["os.kill(0, number)", "os.killpg(0, number)"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_20_kill_the_process_group(target: Target, call: str, number: int) -> None:
    """A process group reaches beyond the PID namespace, so a call must have its own."""
    groups = target.attack("import os\nreturn [os.getpgrp(), os.getsid(0)]")
    assert groups.value == [1, 1]
    sent = target.attack(f"import os\n{call}\nreturn 'sent'", number=int(number))
    assert target.denies(sent) or sent.value == "sent"


def test_21_signal_parent_and_siblings(target: Target) -> None:
    body = """
import os
reached = []
for number in [os.getppid(), *range(2, 5000)]:
    if number > 0:
        try: os.kill(number, 0); reached.append(number)
        except OSError: pass
return [os.getpid(), os.getppid(), reached]
"""
    assert target.attack(body).value == [1, 0, []]


@pytest.mark.parametrize("call", ["setsid", "clone3", *(["vfork"] if HAS_VFORK else [])])
def test_22_double_fork(target: Target, call: str) -> None:
    assert target.attack(f"return call('{call}')", calls=True).value == ("ENOSYS" if call == "clone3" else "EPERM")
    forked = target.attack("import os\nif os.fork() == 0: os.setsid(); os.fork()")
    assert forked.error_type == "PermissionError"


@pytest.mark.parametrize(
    "start",
    [
        "__import__('atexit').register(late)",
        "globals().update(kept=type('Late', (), {'__del__': lambda self: late()})())",
        "__import__('weakref').finalize(late, late)",
    ],
)
def test_23_code_after_the_result(target: Target, start: str) -> None:
    assert target.attack(LATE.replace("START", start), seconds=50).value == "first", "its end was waited for"


@pytest.mark.tools_only("threads")
def test_23_a_thread_after_the_result(target: Target) -> None:
    start = "__import__('threading').Thread(target=late, daemon=False).start()"
    assert target.attack(LATE.replace("START", start), seconds=50).value == "first", "its end was waited for"


def test_24_a_result_then_a_hang(target: Target) -> None:
    body = "import os, time\nos.write(3, b'{\"value\": 1}')\ntime.sleep(60)"
    assert target.attack(body, seconds=0.3).status is Status.TIMEOUT


@pytest.mark.tools_only("threads")
def test_25_a_time_bomb(target: Target) -> None:
    body = """
import signal, threading, os
signal.signal(signal.SIGALRM, lambda *_: os._exit(9))
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
threading.Timer(0.05, os._exit, (9,)).start()
return 'armed'
"""
    assert target.attack(body).value == "armed"
    assert target.attack("import time\ntime.sleep(0.2)\nreturn 'calm'").value == "calm"


def test_26_the_killer_hits_only_its_call(target: Target) -> None:
    """Calls that end just when they are killed: no other process may be hit in their place."""
    workers = target.workers()
    statuses = [
        target.attack("import time\ntime.sleep(pause)", seconds=0.02, pause=0.01 + step * 0.0005).status
        for step in range(40)
    ]
    assert set(statuses) <= {Status.OK, Status.TIMEOUT}
    assert statuses[-1] is Status.TIMEOUT
    assert target.workers() == workers


def test_27_zombies(target: Target) -> None:
    assert target.attack("import os\nos.posix_spawn('/usr/lib/x', ['x'], {})").status is Status.TOOL_FAILED
    for _ in range(50):
        assert target.attack("return 1").ok
    worker = target.workers()[-1]

    def zombies() -> list[int]:
        return [pid for pid in descendants(worker) if _state(pid) == "Z"]

    assert settle(lambda: zombies() == [])


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


@pytest.mark.parametrize("call", ["ptrace", "process_vm_readv", "pidfd_open", "pidfd_getfd"])
def test_28_looking_into_processes(target: Target, call: str) -> None:
    assert target.attack(f"return call('{call}')", calls=True).value == "EPERM"


@pytest.mark.parametrize("code", [0, 1, 70, 71, 72, 255])
def test_29_exit_as_success(target: Target, code: int) -> None:
    result = target.attack("import os\nos._exit(code)", code=code)
    assert (result.status, result.message) == (Status.CRASHED, "the tool ended without a result")


def test_29_exit_by_exception(target: Target) -> None:
    assert target.attack("import sys\nsys.exit(0)").error_type == "SystemExit"
    assert target.attack("raise KeyboardInterrupt").error_type == "KeyboardInterrupt"


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGILL, signal.SIGFPE])
def test_30_crash(target: Target, number: int) -> None:
    bodies = {
        signal.SIGSEGV: "import ctypes\nctypes.string_at(8)",
        signal.SIGILL: "import signal, os\nsignal.signal(4, lambda *_: os._exit(1))\nsignal.raise_signal(4)",
        signal.SIGFPE: "import os\nos.abort()",
    }
    assert target.attack(bodies[signal.Signals(number)]).status is Status.CRASHED


@pytest.mark.parametrize(
    "body",
    [
        "os.nice(-5)",
        "os.setpriority(os.PRIO_PROCESS, 0, -5)",
        "os.sched_setaffinity(0, {0})",
        "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
    ],
)
def test_31_scheduling(target: Target, body: str) -> None:
    assert target.attack(f"import os\n{body}").error_type == "PermissionError"
    assert target.attack("return call('ioprio_set', 1, 0, 0x2000)", calls=True).value == "EPERM"
