"""Runs one command and sees to it that nothing of it outlives the process that asked for it.

Started by path as its own process: ``guard.py PARENT_PID GRACE_SECONDS COMMAND...``. stdin is a pipe whose other end
only the parent holds. It writes the command's process id and a newline to stdout; the command's output goes to
stderr. The command ends, with all its descendants, on SIGTERM or SIGINT to the guard, or when the parent is gone,
however it died: SIGTERM to the command's process group, after GRACE_SECONDS SIGKILL to every descendant. The guard is
a subreaper, so a descendant that left the group is found too. Should the guard itself be killed, the kernel kills the
command. Exit status: that of the command (128 + signal if one killed it). Standard library only, Linux.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def main(arguments: list[str]) -> int:
    parent, grace, command = int(arguments[0]), float(arguments[1]), arguments[2:]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wake = _signals_to_pipe()
    watched = [sys.stdin.fileno(), wake, *_parent_handle(parent)]
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        start_new_session=True,
        preexec_fn=_die_with_guard(libc),  # noqa: PLW1509  the guard has one thread
    )
    print(child.pid, flush=True)
    while child.poll() is None:
        ready, _, _ = select.select(watched, [], [])
        if _told_to_stop(ready, wake):
            break
    _end(child, grace)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _die_with_guard(libc: ctypes.CDLL) -> Callable[[], None]:
    guard = os.getpid()

    def arrange() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != guard:
            os._exit(1)

    return arrange


def _signals_to_pipe() -> int:
    """A descriptor that becomes readable with the number of each signal that arrives, that of a child's end too."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return reader


def _parent_handle(parent: int) -> list[int]:
    """A descriptor that becomes readable when the parent ends: a fork of it may still hold the pipe."""
    try:
        handle = os.pidfd_open(parent)
    except ProcessLookupError:
        sys.exit(1)
    except OSError:
        return []
    return [handle]


def _told_to_stop(ready: list[int], wake: int) -> bool:
    if any(descriptor != wake for descriptor in ready):
        return True
    return any(number != signal.SIGCHLD for number in os.read(wake, 512))


def _end(child: subprocess.Popen[bytes], grace: float) -> None:
    """End the child's group gently, then whatever is left by force; returns when there are no descendants."""
    if child.poll() is None:
        _signal_group(child.pid, signal.SIGTERM)
        deadline = time.monotonic() + grace
        while child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
    while left := _descendants(os.getpid()):
        for process in left:
            _kill(process)
        _reap(child)
        time.sleep(0.01)
    child.wait()


def _reap(child: subprocess.Popen[bytes]) -> None:
    """Collect dead orphans; the child's own status stays for ``child.wait``."""
    child.poll()
    for process in _descendants(os.getpid(), direct=True):
        if process != child.pid:
            try:
                os.waitpid(process, os.WNOHANG)
            except ChildProcessError:
                continue


def _descendants(root: int, *, direct: bool = False) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found = list(children.get(root, []))
    if direct:
        return found
    for process in found:
        found.extend(children.get(process, []))
    return found


def kill_session(session: int) -> None:
    """Send SIGKILL to every process of the session; for the parent of a guard that was killed itself."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getsid(int(entry.name)) == session:
                    _kill(int(entry.name))
            except ProcessLookupError:
                continue


def memory_bytes(session: int) -> int:
    """Return the resident anonymous and shared memory of every process of the session, in bytes."""
    pages = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getsid(int(entry.name)) == session:
                    _, resident, shared, *_ = (entry / "statm").read_text(encoding="ascii").split()
                    pages += int(resident) - int(shared)
            except (ProcessLookupError, OSError):
                continue
    return pages * os.sysconf("SC_PAGE_SIZE")


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def _kill(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
