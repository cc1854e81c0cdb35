"""Bubblewrap's command line, for the sandbox's workers and for started MCP servers alike, and what to do where it is
forbidden."""

import os
import re
import shutil
from pathlib import Path

from toolkit.errors import PrerequisiteError

SANDBOX_USER = 64321
"""Uid of processes in the sandbox; it has no account. If the host process is root, they have this uid on the host too,
where it owns nothing. Otherwise they run as the same user, under this number."""
NAMESPACES_ADVICE = (
    "user namespaces are not allowed here; allow them (Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0; "
    "Debian: sysctl kernel.unprivileged_userns_clone=1; all: sysctl user.max_user_namespaces=10000; Docker: "
    "--security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined)"
)
_REFUSALS = re.compile(
    r"namespace|uid map|unshare|/proc/self/(setgroups|.id_map)|mount|not permitted|permission denied", re.IGNORECASE
)
_FILES = re.compile("execvp|source path")
"""It got so far that a file is missing or closed to this user."""
_CAP_SYS_ADMIN = 21


def bwrap_command(*, network: bool = False) -> list[str]:
    """Return the command line of bwrap with namespaces and capabilities of its own, without environment; what it shows
    and runs is to be appended.

    Raises PrerequisiteError where bubblewrap is missing.
    """
    program = shutil.which("bwrap")
    if program is None:
        raise PrerequisiteError("bubblewrap is missing; install it (Debian, Ubuntu: apt-get install bubblewrap)")
    command = [program, "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    command += [] if network else ["--unshare-net"]
    command += ["--die-with-parent", "--new-session", "--hostname", "sandbox", "--clearenv", "--cap-drop", "ALL"]
    if user_inside() is None:
        return [*command, "--unshare-user", "--uid", str(SANDBOX_USER), "--gid", str(SANDBOX_USER)]
    return [*command, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]


def user_inside(process: Path = Path("/proc/self")) -> int | None:
    """Return the uid for which what runs inside gives up root; None where the host is no root, or one that may not make
    namespaces (as in a container), or has no other uids: there a user namespace does it."""
    if os.geteuid() != 0:
        return None
    status = (process / "status").read_text(encoding="utf-8")
    capable = int(status.partition("CapEff:")[2].split()[0], 16) >> _CAP_SYS_ADMIN & 1
    lines = (process / "uid_map").read_text(encoding="ascii").splitlines()
    ranges = [[int(part) for part in line.split()] for line in lines]
    mapped = any(start <= SANDBOX_USER < start + count for start, _, count in ranges)
    return SANDBOX_USER if capable and mapped else None


def refused(complaint: str) -> bool:
    """Return whether ``complaint``, of bwrap or of a worker, is that the kernel forbids namespaces."""
    return _REFUSALS.search(complaint) is not None and _FILES.search(complaint) is None
