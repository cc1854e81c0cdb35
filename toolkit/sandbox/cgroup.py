"""Limits by control group, where one was delegated to this process: cgroup v2 with the controllers memory and pids.

The other limits hold for one process each. A group bounds a worker or a server as a whole, also what the kernel holds
for it. Where nothing was delegated, there is no such bound, and ``Groups.note`` says why.
"""

import contextlib
import errno
import itertools
import os
import time
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import SandboxUnavailable

_MOUNT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_CONTROLLERS = frozenset(("memory", "pids"))
_PREFIX = "apprentice-"
_MAIN = "apprentice-main"
_REMOVE_SECONDS = 1.0
_ADVICE = "start it with `systemd-run --user --scope -p Delegate=yes` for limits of this kind"
_numbers = itertools.count(1)


class NotDelegated(Exception):
    """Error of a process without a control group in which it may make others; the message says why."""


@dataclass(frozen=True, slots=True)
class Group:
    """A control group with limits, made for one worker or server."""

    path: Path

    def around(self, command: list[str]) -> list[str]:
        """Return ``command`` run by a shell that joins the group first, so that nothing of it ever runs outside."""
        return ["/bin/sh", "-c", 'echo 0 > "$0/cgroup.procs" && exec "$@"', str(self.path), *command]

    def remove(self) -> None:
        """Kill what is left in the group and remove it; what the kernel still holds goes at the next start."""
        with contextlib.suppress(OSError):
            (self.path / "cgroup.kill").write_text("1", encoding="ascii")
        end = time.monotonic() + _REMOVE_SECONDS
        while time.monotonic() < end:
            try:
                self.path.rmdir()
            except FileNotFoundError:
                return
            except OSError as error:
                if error.errno != errno.EBUSY:
                    return
                time.sleep(0.01)
            else:
                return


@dataclass(frozen=True, slots=True)
class Groups:
    """Place in which this process may make groups; ``parent`` is None where it may not. ``note`` says which, and why
    not."""

    parent: Path | None
    note: str

    def make(self, *, memory_bytes: int, processes: int) -> Group | None:
        """Make a group with these limits, without swap; None where none may be made. Raises SandboxUnavailable."""
        if self.parent is None:
            return None
        group = Group(self.parent / f"{_PREFIX}{os.getpid()}-{next(_numbers)}")
        try:
            group.path.mkdir()
            (group.path / "memory.max").write_text(str(memory_bytes), encoding="ascii")
            (group.path / "pids.max").write_text(str(processes), encoding="ascii")
        except OSError as error:
            group.remove()
            raise SandboxUnavailable(f"the control group {group.path} cannot be made: {error.strerror}") from error
        with contextlib.suppress(OSError):  # absent where the kernel accounts no swap
            (group.path / "memory.swap.max").write_text("0", encoding="ascii")
        return group


def find_groups(mount: Path = _MOUNT, own: Path = _OWN) -> Groups:
    """Return the control group in which this process may make others, if one was delegated to it.

    It is this process's own, which must hold no process then: this one moves to a group below, when it is alone there.
    Or it is the one above.
    """
    try:
        parent = _delegated(mount, own)
    except NotDelegated as reason:
        return Groups(None, f"no limits of this kind: {reason}")
    return Groups(parent, f"the memory and the processes of each worker are limited, in {parent}")


def _delegated(mount: Path, own: Path) -> Path:
    if not (mount / "cgroup.controllers").exists():
        raise NotDelegated(f"{mount} is no cgroup v2")
    lines = own.read_text(encoding="utf-8").splitlines()
    path = next((line[3:] for line in lines if line.startswith("0::")), "/..")
    if ".." in Path(path).parts:
        raise NotDelegated("the control group of this process cannot be seen")
    mine = mount / path.lstrip("/")
    if mine.name == _MAIN:
        return _prepared(mine.parent, mount, own=False)
    try:
        return _prepared(mine, mount, own=True)
    except NotDelegated:
        if mount not in (mine, mine.parent):
            with contextlib.suppress(NotDelegated):
                return _prepared(mine.parent, mount, own=False)
        raise


def _prepared(group: Path, mount: Path, *, own: bool) -> Path:
    """``group`` with both controllers on for the groups below it."""
    try:
        available = set((group / "cgroup.controllers").read_text(encoding="ascii").split())
        if not available >= _CONTROLLERS:
            raise NotDelegated(f"{group} has no memory and pids controllers; {_ADVICE}")
        if not _is_given(group, mount):
            raise NotDelegated(f"{group} belongs to another; {_ADVICE}")
        enabled = set((group / "cgroup.subtree_control").read_text(encoding="ascii").split())
        if not enabled >= _CONTROLLERS:
            _enable(group, own=own)
    except OSError as error:
        raise NotDelegated(f"{group}: {error.strerror}; {_ADVICE}") from None
    _sweep(group)
    return group


def _is_given(group: Path, mount: Path) -> bool:
    """Tell a delegated group by systemd's mark, as the root of this process's view, or as this user's own. Root may
    write everywhere, which makes it no owner."""
    if not (os.access(group, os.W_OK) and os.access(group / "cgroup.procs", os.W_OK)):
        return False
    for mark in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(group, mark) == b"1":
                return True
    return group == mount or (os.geteuid() != 0 and group.stat().st_uid == os.geteuid())


def _enable(group: Path, *, own: bool) -> None:
    control = group / "cgroup.subtree_control"
    try:
        control.write_text("+memory +pids", encoding="ascii")
    except OSError as error:
        if error.errno != errno.EBUSY or not own:
            raise
        if (group / "cgroup.procs").read_text(encoding="ascii").split() != [str(os.getpid())]:
            raise NotDelegated(f"{group} holds other processes too; {_ADVICE}") from None
        main = group / _MAIN
        main.mkdir(exist_ok=True)
        (main / "cgroup.procs").write_text("0", encoding="ascii")
        control.write_text("+memory +pids", encoding="ascii")


def _sweep(group: Path) -> None:
    """Remove the groups of processes that have gone."""
    for left in group.glob(f"{_PREFIX}[0-9]*-*"):
        if not Path("/proc", left.name.split("-")[1]).exists():
            with contextlib.suppress(OSError):
                left.rmdir()
