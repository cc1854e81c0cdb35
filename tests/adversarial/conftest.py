"""The real sandbox under attack. After each attack the next call must work and nothing of the attack may be left.

Each attack is made in both profiles, on the workers of tools and on those of code that a model wrote, unless it is
marked ``tools_only`` with what the tighter profile does not have.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from toolkit.config import MadeCodeConfig, SandboxConfig
from toolkit.sandbox import ExecResult, Invocation, Status
from toolkit.sandbox.bubblewrap import BubblewrapSandbox
from toolkit.sandbox.made_code import made_code_limits
from toolkit.sandbox.opening import open_sandbox
from toolkit.sources import builtin_modules

CALLS = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
NUMBERS = {
    "x86_64": dict(ptrace=101, process_vm_readv=310, pidfd_open=434, pidfd_getfd=438, keyctl=250, add_key=248,
        request_key=249, bpf=321, perf_event_open=298, userfaultfd=323, io_uring_setup=425, memfd_create=319, shmget=29,
        semget=64, msgget=68, mq_open=240, chroot=161, mount=165, umount2=166, pivot_root=155, unshare=272, setns=308,
        open_by_handle_at=304, kexec_load=246, init_module=175, clone3=435, fsopen=430, open_tree=428, setxattr=188,
        sched_setscheduler=144, ioprio_set=251, inotify_init1=294, fanotify_init=300, setuid=105, setsid=112,
        personality=135, iopl=172, quotactl=179, swapon=167, reboot=169, settimeofday=164, execveat=322, vfork=58),
    "aarch64": dict(ptrace=117, process_vm_readv=270, pidfd_open=434, pidfd_getfd=438, keyctl=219, add_key=217,
        request_key=218, bpf=280, perf_event_open=241, userfaultfd=282, io_uring_setup=425, memfd_create=279,
        shmget=194, semget=190, msgget=186, mq_open=180, chroot=51, mount=40, umount2=39, pivot_root=41, unshare=97,
        setns=268, open_by_handle_at=265, kexec_load=104, init_module=105, clone3=435, fsopen=430, open_tree=428,
        setxattr=5, sched_setscheduler=119, ioprio_set=30, inotify_init1=26, fanotify_init=262, setuid=146, setsid=157,
        personality=92, quotactl=60, swapon=224, reboot=142, settimeofday=170, execveat=281),
}[os.uname().machine]

def call(name, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(NUMBERS[name], *(arguments or (0, 0, 0, 0, 0)))
    return "succeeded" if result >= 0 else errno.errorcode[ctypes.get_errno()]
"""
"""Source that an attack starts with to make raw system calls; ``call(name)`` says how one ended."""


class Target:
    """The sandbox, as an attack sees it."""

    def __init__(self, sandbox: BubblewrapSandbox, *, strict: bool) -> None:
        self.sandbox = sandbox
        self.strict = strict

    def attack(
        self,
        body: str,
        *,
        seconds: float = 120.0,
        calls: bool = False,
        workspace: Path | None = None,
        **arguments: object,
    ) -> ExecResult:
        """Run ``body``, the text of a function ``attack`` indented by nothing, with ``arguments`` as its parameters."""
        head = f"def attack({', '.join(arguments)}):\n"
        indented = "\n".join(f"    {line}" for line in body.strip("\n").splitlines())
        source = (CALLS if calls else "") + head + indented
        return self.sandbox.run(
            Invocation.of_source(source, "attack", arguments, workspace=workspace, timeout_seconds=seconds)
        )

    def denies(self, result: ExecResult) -> bool:
        """Whether this is the tighter profile, and ``result`` that of a system call that only this one denies."""
        return self.strict and (result.status, result.error_type) == (Status.TOOL_FAILED, "PermissionError")

    def workers(self) -> list[int]:
        return [worker._process.pid for worker in self.sandbox._idle]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "target" in metafunc.fixturenames:
        tools_only = metafunc.definition.get_closest_marker("tools_only")
        metafunc.parametrize("target", ["tools"] if tools_only else ["tools", "model-made"], indirect=True)


@pytest.fixture(scope="session")
def _tools() -> Iterator[Target]:
    config = SandboxConfig(timeout_seconds=60, memory_mib=64, workspace_mib=4, output_kib=16)
    with open_sandbox(config, builtin_modules()) as sandbox:
        yield Target(sandbox, strict=False)


@pytest.fixture(scope="session")
def _model_made() -> Iterator[Target]:
    limits = MadeCodeConfig(timeout_seconds=60, memory_mib=64, output_kib=16)
    with open_sandbox(made_code_limits(SandboxConfig(made_code=limits)), name="model-made", strict=True) as sandbox:
        yield Target(sandbox, strict=True)


@pytest.fixture
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    found: Target = request.getfixturevalue("_tools" if request.param == "tools" else "_model_made")
    before = found.sandbox.run(Invocation.of_source("def f(): return 1", "f", {}))
    assert before.value == 1
    workers = found.workers()
    yield found
    if found.strict:
        after = found.sandbox.run(Invocation.of_source("def f(): return len('still here'.split())", "f", {}))
    else:
        after = found.sandbox.run(Invocation("toolkit.builtin.text", "count_words", {"text": "still here"}))
    assert (after.status, after.value) == ("ok", 2)
    assert set(workers) <= set(found.workers()), "the attack cost a worker"
    for worker in workers:
        assert settle(lambda worker=worker: len(descendants(worker)) <= 4), "the attack left a process"


def descendants(pid: int) -> list[int]:
    """The processes below ``pid``, as the host sees them."""
    children: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            children += map(int, (thread / "children").read_text(encoding="ascii").split())
    return children + [below for child in children for below in descendants(child)]


def settle(condition: Callable[[], object]) -> bool:
    """Whether ``condition()`` becomes true in time."""
    end = time.monotonic() + 90
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
