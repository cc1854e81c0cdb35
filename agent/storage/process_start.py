"""Start time of a process, which distinguishes it from a later process with the same id."""

import os
from pathlib import Path


def start_time(pid: int) -> str | None:
    """Return the start time of a process in clock ticks since boot; None if it is gone, "" if /proc does not tell."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None if Path("/proc/self/stat").exists() or not _exists(pid) else ""
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
