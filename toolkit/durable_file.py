"""The one way to put a file or a folder in its place: on disk, and whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolkit.errors import UserError


@contextmanager
def writing_to(target: Path) -> Iterator[None]:
    """Raise UserError, with the way out, for an OSError in the block: ``target`` is what a person named."""
    try:
        yield
    except FileNotFoundError as error:
        folder = target.parent
        problem = error.strerror if folder.is_dir() else f"there is no folder {folder}"
        raise UserError(f"{target}: {problem}; make that folder first, or name another one") from error
    except OSError as error:
        raise UserError(f"{target}: {error.strerror}; name a folder in which you may write") from error


def replace(path: Path, content: bytes) -> None:
    """Let ``path`` hold ``content``, readable by its owner only; on disk when this returns.

    A reader, and whoever comes after a crash, sees the old content or the new one, never a part. Raises OSError.
    A crash may leave a draft named ``.NAME.*`` beside it; ``remove_drafts`` takes those away.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        draft.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give an empty draft beside ``path``, which takes its place when the block ends, as ``replace`` does.

    It is gone when the block raises. Raises OSError.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
    os.close(descriptor)
    draft = Path(temporary)
    try:
        yield draft
        flush(draft)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    flush(path.parent)


def remove(path: Path) -> None:
    """Delete a file, if it is there; it is gone from the disk when this returns. Raises OSError."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    flush(path.parent)


def remove_drafts(folder: Path) -> None:
    """Delete what crashes inside ``replace`` left in ``folder`` and below; it is gone from the disk when this returns.

    Nobody else may be writing there. Raises OSError.
    """
    for path in sorted(folder.rglob(".*.json*.*")):
        if path.is_file():
            remove(path)


def publish_folder(draft: Path, target: Path, *, instead: bool = False) -> None:
    """Rename ``draft``, on the same file system, to ``target``; all of it is on disk when this returns.

    After a crash ``target`` is whole or absent. ``instead``: what stands there is removed first. Raises OSError.
    """
    for folder, _, files in os.walk(draft, topdown=False):
        for name in sorted(files):
            flush(Path(folder, name))
        flush(Path(folder))
    if instead:
        shutil.rmtree(target, ignore_errors=True)
    draft.rename(target)
    flush(target.parent)


def flush(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
