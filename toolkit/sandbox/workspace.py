"""Carrying a workspace into a call and back: regular files only, as bytes; no folder of the host is ever mounted.

So a call can leave no link, pipe or device where the host reads, needs no permission on the host's folder, cannot
outgrow its limit, and changes nothing unless it succeeded.
"""

import base64
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

_LOCK = ".lock"
_TEMPORARY = ".writing"
MAX_FILES = 1000
MAX_NAME = 200


class BadWorkspace(ValueError):
    """Too large, too many files, or a name that must not be written; the message says which."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one caller at a time into ``folder``, across threads and processes; create it."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read(folder: Path, limit_bytes: int) -> dict[str, str]:
    """Return the base64 of each regular file by its relative path. Raises BadWorkspace beyond ``limit_bytes`` or
    MAX_FILES."""
    found: dict[str, str] = {}
    total = 0
    for parent, _, names, top in os.fwalk(folder, follow_symlinks=False):
        for name in sorted(names):
            if name in (_LOCK, _TEMPORARY):
                continue
            content = _read_regular(name, top, limit_bytes - total)
            if content is None:
                continue
            total += len(content)
            found[os.path.relpath(Path(parent) / name, folder)] = base64.b64encode(content).decode()
            if len(found) > MAX_FILES:
                raise BadWorkspace(f"the workspace holds more than {MAX_FILES} files; remove some")
    return found


def _read_regular(name: str, top: int, limit_bytes: int) -> bytes | None:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=top)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            return None
        if about.st_size > limit_bytes:
            raise BadWorkspace("the workspace is larger than workspace_mib; remove files or raise the limit")
        return file.read()


def store(folder: Path, before: dict[str, str], after: dict[str, str]) -> None:
    """Make ``folder`` hold ``after`` where it differs from ``before``. Raises BadWorkspace before the first change."""
    for name in after:
        _require_plain(name)
    if len(after) > MAX_FILES:
        raise BadWorkspace(f"the call left more than {MAX_FILES} files")
    for name in before.keys() - after.keys():
        _remove(folder, name)
    for name, content in after.items():
        if before.get(name) != content:
            _write(folder, name, base64.b64decode(content))


def _require_plain(name: str) -> None:
    path = PurePosixPath(name)
    parts = path.parts
    odd = path.is_absolute() or not parts or str(path) != name or ".." in parts or len(name) > MAX_NAME
    if odd or not name.isprintable() or parts[-1] in (_LOCK, _TEMPORARY):
        raise BadWorkspace("the call left a file with a name that is not allowed in a workspace")


def _remove(folder: Path, name: str) -> None:
    """Remove the file, and the folders that it leaves empty: a file may take their name."""
    path = folder / name
    path.unlink(missing_ok=True)
    for parent in path.relative_to(folder).parents[:-1]:
        try:
            (folder / parent).rmdir()
        except OSError:
            return


def _write(folder: Path, name: str, content: bytes) -> None:
    target = folder / name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise BadWorkspace(f"the workspace holds a link or pipe where the call left the folder of {name}") from None
    if target.is_dir():
        raise BadWorkspace(f"the workspace holds a folder where the call left the file {name}; remove it")
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise BadWorkspace("the workspace holds a link that leads out of it; remove it")
    temporary = target.parent / _TEMPORARY
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    temporary.replace(target)
