"""The folder with a server's Unix sockets, which only its owner may enter."""

import contextlib
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from agent.errors import StorageError

NAME = "sockets"
VLLM = "vllm.sock"
_LONGEST_NAME = 36
"""Characters of the names that vLLM gives the sockets between its processes (UUIDs)."""
ADMIN = "admin.sock"
CHAT = "chat.sock"


@contextlib.contextmanager
def socket_folder(data_folder: Path) -> Iterator[Path]:
    """Yield an empty folder of mode 0700 for the sockets VLLM, ADMIN and CHAT, and those between vLLM's own processes.

    It lies in the data folder. Where no socket can lie there (its path would be longer than the kernel takes, or the
    file system has no sockets) it lies in the system's folder for temporary files. It is removed at the end. Only one
    server of a data folder may use it at a time. Raises StorageError.
    """
    folder = _in_data(data_folder.resolve() / NAME) or _temporary()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def bound(path: Path) -> socket.socket:
    """Return a socket that is bound to ``path`` and does not listen yet. Raises OSError."""
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        found.bind(str(path))
    except OSError:
        found.close()
        raise
    return found


def _in_data(folder: Path) -> Path | None:
    """Return ``folder``, made anew; None where no socket can lie in it."""
    try:
        if folder.exists():
            shutil.rmtree(folder)  # of a server that was killed
        folder.mkdir(mode=0o700, parents=True)
        return _tried(folder)
    except OSError:
        return None


def _temporary() -> Path:
    try:
        return _tried(Path(tempfile.mkdtemp(prefix="apprentice-")))  # of mode 0700
    except OSError as error:
        raise StorageError(
            f"no Unix socket can be made in the data folder or in {tempfile.gettempdir()} ({error.strerror or error}); "
            "choose a data folder with a shorter path on a local disk"
        ) from error


def _tried(folder: Path) -> Path:
    """Return the empty ``folder`` if a socket with the longest name can lie in it; else remove it and raise OSError."""
    path = folder / ("-" * _LONGEST_NAME)
    try:
        bound(path).close()
    except OSError:
        folder.rmdir()
        raise
    path.unlink()
    return folder
