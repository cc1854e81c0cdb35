"""Refuses file systems on which SQLite in WAL mode damages databases.

Its readers and writers share memory mapped from a file beside the database, which machines on a network do not share
(sqlite.org/wal.html), and which FUSE servers need not keep coherent.
"""

import re
from pathlib import Path

from toolkit.errors import PrerequisiteError

MOUNTS = Path("/proc/self/mountinfo")
_REMOTE = re.compile(r"nfs\d*|cifs|smb\d*|smbfs|9p|virtiofs|fuse|fuseblk|fuse\..+|afs|ceph|lustre|glusterfs|beegfs")
_ESCAPED = re.compile(r"\\([0-7]{3})")


def check_file_system(path: Path) -> None:
    """Raise PrerequisiteError when ``path``, which need not exist, is on a network file system or on FUSE."""
    kind = file_system_of(path)
    if _REMOTE.fullmatch(kind):
        raise PrerequisiteError(
            f"{path}: is on {kind}, where SQLite databases get damaged; set data_folder in config.toml to a folder on "
            "a local disk"
        )


def file_system_of(path: Path) -> str:
    """Return the type of the file system that holds ``path``, as the kernel names it; "" where it does not say."""
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    place = path.absolute().resolve()
    found, deepest = "", -1
    for line in lines:
        mounted, _, source = line.partition(" - ")
        folder = Path(_ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), mounted.split()[4]))
        if place.is_relative_to(folder) and len(folder.parts) >= deepest:  # of several on one folder the last is seen
            found, deepest = source.split()[0], len(folder.parts)
    return found
