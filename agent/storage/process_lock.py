"""One process of a kind per data folder. The lock is the process's own; it ends with it, however it dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import StorageError

SERVE = "serve.lock"


@contextmanager
def process_lock(data_folder: Path, name: str) -> Iterator[int | None]:
    """Take the lock ``name``. Yields None when this process has it, else the id of the one that has (0: not known)."""
    try:
        data_folder.mkdir(parents=True, exist_ok=True)
        file = os.open(data_folder / name, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StorageError(f"{data_folder}: {error.strerror}; check that folder's disk and rights") from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield int(os.pread(file, 32, 0) or b"0")
            return
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        yield None
        os.ftruncate(file, 0)
    finally:
        os.close(file)
