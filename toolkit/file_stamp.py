"""Stamps that tell whether a file, a folder or a text is still what it was."""

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

_PASSED_OVER = ("__pycache__", ".git")


def digest(text: str) -> str:
    """Return the hash of ``text``."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def stamp(path: Path) -> str:
    """Return what changes when ``path`` is written anew, or anything in that folder; "" where there is nothing."""
    try:
        if path.is_dir():
            return digest("\n".join(_in_folder(path)))
        return _of(path.stat())
    except OSError:
        return ""


def _of(found: os.stat_result) -> str:
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ino}"


def _in_folder(folder: Path) -> Iterator[str]:
    for inside, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _PASSED_OVER)
        for name in sorted(names):
            path = os.path.join(inside, name)  # noqa: PTH118 - as os.walk has it
            yield f"{path} {_of(os.lstat(path))}"
