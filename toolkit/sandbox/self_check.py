"""Trying to escape, at every start-up; a sandbox that lets one attempt through is not used.

Each attempt is code that runs in the sandbox and says what it reached. The code is our own and honest, so its words
count; an attempt that the host must end (a spin, a memory bomb) is judged by the host's status.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

from toolkit.errors import SandboxUnavailable
from toolkit.sandbox import ExecResult, Invocation, Sandbox, Status
from toolkit.sandbox.insistent import Insistent


@dataclass(frozen=True, slots=True)
class EscapeAttempt:
    """Result of one attempt to escape. ``held``: True if the sandbox held; ``outcome`` is what the attempt met."""

    attempt: str
    held: bool
    outcome: str


@dataclass(frozen=True, slots=True)
class _Attempt:
    name: str
    body: str
    holds: Callable[[ExecResult], bool]
    seconds: float = 20.0
    """Long, for on a starved machine an attempt that is refused late must not look like one that got through."""


def _refused(result: ExecResult) -> bool:
    return result.status in (Status.TOOL_FAILED, Status.CRASHED, Status.RESOURCE_LIMIT)


def _reported(expected: object) -> Callable[[ExecResult], bool]:
    return lambda result: result.ok and result.value == expected


def _nothing_of_the_host(result: ExecResult) -> bool:
    """A users' module may set variables when it is imported; what leaked would come with these."""
    if not result.ok:
        return False
    return not any(name in os.environ and result.value.get(name) == os.environ[name] for name in ("HOME", "PATH"))


_CTYPES = "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
_CALL = """
def attempt():
    if {call} >= 0:
        return "succeeded"
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
"""


def _system_call(call: str) -> str:
    return _CTYPES + _CALL.format(call=call)


_ATTEMPTS = (
    _Attempt("start a process", "import os\ndef attempt():\n return os.fork()", _refused),
    _Attempt("run a program", "import os\ndef attempt():\n os.execv('/usr/lib/x', ['x'])", _refused),
    _Attempt("open a network socket", "import socket\ndef attempt():\n socket.socket()", _refused),
    _Attempt("open a local socket", "import socket\ndef attempt():\n socket.socket(socket.AF_UNIX)", _refused),
    _Attempt("resolve a name", "import socket\ndef attempt():\n return socket.getaddrinfo('localhost', 80)", _refused),
    _Attempt("see /proc", "import os\ndef attempt():\n return os.listdir('/proc')", _reported([])),
    _Attempt("see the environment", "import os\ndef attempt():\n return dict(os.environ)", _nothing_of_the_host),
    _Attempt(
        "read the host's files",
        "import os\ndef attempt():\n return [p for p in ('/etc/passwd', '/etc/shadow', '/root/.ssh', '/home',"
        " '/var', '/sys', '/run', '/mnt', '/boot', '/proc/self') if os.path.lexists(p)]",
        _reported([]),
    ),
    _Attempt(
        "write outside the scratch folder",
        "import os\ndef attempt():\n"
        " done = []\n"
        " for folder in ('/', '/dev', '/opt', '/opt/package/toolkit', '/usr/lib', '/etc', os.__file__[:-6]):\n"
        "  try:\n"
        "   open(folder + '/escaped', 'w'); done.append(folder)\n"
        "  except OSError: pass\n"
        " return done",
        _reported([]),
    ),
    _Attempt(
        "inherit a descriptor",
        "import os\ndef attempt():\n"
        " open_ones = []\n"
        " for number in range(64):\n"
        "  try:\n"
        "   os.fstat(number); open_ones.append(number)\n"
        "  except OSError: pass\n"
        " return open_ones",
        _reported([0, 1, 2, 3]),
    ),
    _Attempt("be root", "import os\ndef attempt():\n return 0 in os.getresuid() or os.setuid(0)", _refused),
    _Attempt("make a namespace", _system_call("libc.unshare(0x10000000)"), _refused),
    _Attempt("mount", _system_call("libc.mount(b'none', b'/scratch/tmp', b'tmpfs', 0, None)"), _refused),
    _Attempt("trace", _system_call("libc.ptrace(0, 0, 0, 0)"), _refused),
    _Attempt("reach the keyring", _system_call("libc.syscall({keyctl}, 0, -3, 0, 0, 0)"), _refused),
    _Attempt("load BPF", _system_call("libc.syscall({bpf}, 0, 0, 0)"), _refused),
    _Attempt("use io_uring", _system_call("libc.syscall(425, 8, ctypes.create_string_buffer(256))"), _refused),
    _Attempt("use userfaultfd", _system_call("libc.syscall({userfaultfd}, 0)"), _refused),
    _Attempt("make shared memory", _system_call("libc.shmget(1, 4096, 0o1600)"), _refused),
    _Attempt("type into a terminal", _system_call("libc.ioctl(0, 0x5412, b'x')"), _refused),
    _Attempt(
        "signal every process",
        "import os\ndef attempt():\n os.kill(-1, 9)\n return os.getpid()",
        lambda result: result.status in (Status.OK, Status.TOOL_FAILED),
    ),
    _Attempt(
        "share a process group",
        "import os\ndef attempt():\n return [os.getpid(), os.getpgrp(), os.getsid(0)]",
        _reported([1, 1, 1]),
    ),
    _Attempt("use another architecture's calls", _system_call("libc.syscall(0x40000027)"), _refused),
    _Attempt("run for ever", "def attempt():\n while True: pass", lambda result: result.status is Status.TIMEOUT, 0.1),
    _Attempt(
        "take all memory",
        "def attempt():\n return len(bytearray(1 << 40))",
        lambda result: result.status is Status.RESOURCE_LIMIT,
    ),
    _Attempt(
        "fill the scratch folder",
        "def attempt():\n"
        " for number in range(10000):\n"
        "  with open('/scratch/tmp/%d' % number, 'wb') as file: file.write(bytes(1 << 20))",
        lambda result: result.status in (Status.RESOURCE_LIMIT, Status.TIMEOUT),
    ),
    _Attempt(
        "forge a result",
        "import os\ndef attempt():\n os.write(1, b'{\"value\": 1}')\n os._exit(0)",
        lambda result: result.status is Status.CRASHED,
    ),
    _Attempt(
        "leave a file for the next call",
        "import os\ndef attempt():\n return os.listdir('/scratch/tmp') + os.listdir('/workspace')",
        _reported([]),
    ),
)
"""In this order: the attempts to leave something behind come before the one that looks for it."""

_NUMBERS = {
    "x86_64": {"keyctl": 250, "bpf": 321, "userfaultfd": 323},
    "aarch64": {"keyctl": 219, "bpf": 280, "userfaultfd": 282},
}


def attempt_all(sandbox: Sandbox) -> list[EscapeAttempt]:
    """Make every attempt and say how it ended; one that loses its worker each time has not held. Raises
    SandboxUnavailable when the sandbox cannot run at all."""
    insistent = Insistent(sandbox)
    numbers = _NUMBERS.get(os.uname().machine, _NUMBERS["x86_64"])
    attempts = []
    for attempt in _ATTEMPTS:
        source = attempt.body.replace("{", "{{").replace("}", "}}") if "libc" not in attempt.body else attempt.body
        result = insistent.run(
            Invocation.of_source(source.format(**numbers), "attempt", {}, timeout_seconds=attempt.seconds)
        )
        outcome = f"returned {result.value!r}" if result.ok else f"{result.status}: {result.message}"
        attempts.append(EscapeAttempt(attempt.name, attempt.holds(result), outcome[:200]))
    return attempts


def require_sound(sandbox: Sandbox) -> None:
    """Raise SandboxUnavailable, naming what got through, unless every attempt held."""
    escaped = [attempt for attempt in attempt_all(sandbox) if not attempt.held]
    if escaped:
        told = "; ".join(f"{attempt.attempt} ({attempt.outcome})" for attempt in escaped)
        raise SandboxUnavailable(f"the sandbox does not hold: {told}; run `toolkit check` and mend what it names")
