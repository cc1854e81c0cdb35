"""data/serve.lock: one server per data folder. The lock is the process's own; it ends with it, however it dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import StorageError


@contextmanager
def serve_lock(data_folder: Path) -> Iterator[int | None]:
    """Take the lock. Yields None when this process has it, else the id of the process that has (0: not known yet)."""
    try:
        data_folder.mkdir(parents=True, exist_ok=True)
        file = os.open(data_folder / "serve.lock", os.O_RDWR | os.O_CREAT, 0o600)
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
