"""Folders that a node must have: found there by their content, or sent to it in parts.

A receiver is a Ray actor whose class is a FolderReceiver. It takes no file that the listing does not name, and no
folder whose files are not those of the listing.
"""

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from toolkit import durable_file
from toolkit.errors import UserError
from toolkit.file_hash import file_sha256

_PART_BYTES = 32 << 20
_PART_SECONDS = 120.0
"""Time in which a node must have taken a part, or have hashed a gigabyte."""
Answer = Callable[[int, Any, float], Any]
"""Returns the result of a call: the number of its actor, the reference, and the seconds to wait at most."""


@dataclass(frozen=True)
class Listing:
    """The files of a folder, also those in folders inside it: path, size and hash of each, in the order of the paths.
    Hidden ones are not among them."""

    files: tuple[tuple[str, int, str], ...]

    @property
    def sha256(self) -> str:
        """The hash of the whole folder."""
        return hashlib.sha256(repr(self.files).encode()).hexdigest()

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(size for _, size, _ in self.files)


def listed(folder: Path, names: Collection[str] | None = None) -> Listing:
    """Return the listing of ``folder``, or of its files ``names``; reads every file. Raises OSError."""
    files = [(name, path) for name, path in _files(folder) if names is None or name in names]
    return Listing(tuple((name, path.stat().st_size, file_sha256(path)) for name, path in files))


def kept_folders() -> Path:
    """Return the place of the folders that were sent to this node to stay."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "apprentice" / "folders"


class FolderReceiver:
    """Takes folders on a node: those to keep in ``kept_folders``, others in a temporary one, until ``forget_folders``.

    Threads may call it. A base of classes of Ray actors.
    """

    def __init__(self) -> None:
        self._own = TemporaryDirectory(prefix="apprentice-")
        self._drafts = f".{uuid.uuid4().hex[:8]}"

    def find_folder(self, listing: Listing, sender: Path | None, *, keep: bool) -> Path | None:
        """Return a folder of this node with exactly these files: the one at the path ``sender``, or one sent before.

        None if there is neither.
        """
        for folder in (sender, self._place(listing, keep=keep)):
            if folder is not None and _is(folder, listing):
                return folder
        return None

    def write_part(self, listing: Listing, name: str, offset: int, part: list[Any], *, keep: bool) -> None:
        """Write a part of the file ``name`` at ``offset``, in bytes. ``part`` holds a Ray reference to its content.

        Raises OSError, and ValueError if the listing has no such file.
        """
        import ray

        if name not in {path for path, _, _ in listing.files}:
            raise ValueError(f"{name} is no file of that folder")
        path = self._draft(listing, keep=keep) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb" if offset == 0 else "r+b") as file:
            file.seek(offset)
            file.write(ray.get(part[0]))

    def put_in_place(self, listing: Listing, *, keep: bool) -> Path | None:
        """Publish the written folder and return it; None if its files differ from the listing. Raises OSError."""
        draft, target = self._draft(listing, keep=keep), self._place(listing, keep=keep)
        whole = _is(draft, listing)
        try:
            if whole and not _is(target, listing):
                durable_file.publish_folder(draft, target, instead=True)
        except OSError:
            if not _is(target, listing):  # else another process was first
                raise
        shutil.rmtree(draft, ignore_errors=True)
        return target if whole else None

    def forget_folders(self) -> None:
        """Delete the folders that are not to be kept."""
        self._own.cleanup()

    @property
    def own_folder(self) -> Path:
        """A folder of mode 0700 that ``forget_folders`` deletes."""
        return Path(self._own.name)

    def _place(self, listing: Listing, *, keep: bool) -> Path:
        return (kept_folders() if keep else self.own_folder / "folders") / listing.sha256

    def _draft(self, listing: Listing, *, keep: bool) -> Path:
        place = self._place(listing, keep=keep)
        return place.with_name(f".{place.name}{self._drafts}")


def bring(
    actors: Sequence[Any],
    folder: Path,
    listing: Listing,
    *,
    keep: bool,
    same_path: bool = True,
    answer: Answer | None = None,
) -> list[Path]:
    """Return the path at which the node of each of ``actors``, FolderReceivers, has ``folder``. Each part is sent at
    once to all that lack it.

    ``same_path``: a folder that lies there at the same path is used where it has the same files. ``keep``: later actors
    find it there. ``answer`` returns the result of a call; by default it raises RayError. Raises OSError, and UserError
    where the folder changed meanwhile.
    """
    import ray

    answer = answer or _answer
    patience = _PART_SECONDS * (1 + listing.size / (1 << 30))

    def ask(numbers: Iterable[int], method: str, *arguments: Any, seconds: float) -> list[Any]:
        asked = [(number, getattr(actors[number], method).remote(*arguments, keep=keep)) for number in numbers]
        return [answer(number, reference, seconds) for number, reference in asked]

    sender = folder.resolve() if same_path else None
    found: list[Path | None] = ask(range(len(actors)), "find_folder", listing, sender, seconds=patience)
    lacking = [number for number, path in enumerate(found) if path is None]
    for name, offset, part in _parts(folder, listing) if lacking else ():
        ask(lacking, "write_part", listing, name, offset, [ray.put(part)], seconds=_PART_SECONDS)
    for number, path in zip(lacking, ask(lacking, "put_in_place", listing, seconds=patience), strict=True):
        found[number] = path
    there = [path for path in found if path is not None]
    if len(there) < len(actors):
        raise UserError(f"{folder} changed while it was sent to another machine; try again")
    return there


def _answer(_number: int, reference: Any, seconds: float) -> Any:
    import ray

    return ray.get(reference, timeout=seconds)


def _parts(folder: Path, listing: Listing) -> Iterator[tuple[str, int, bytes]]:
    """Yield name, offset and bytes of every part; an empty file has one."""
    for name, size, _ in listing.files:
        with (folder / name).open("rb") as file:
            for offset in range(0, max(size, 1), _PART_BYTES):
                yield name, offset, file.read(_PART_BYTES)


def _files(folder: Path) -> list[tuple[str, Path]]:
    found = [(path.relative_to(folder), path) for path in folder.rglob("*") if path.is_file()]
    shown = [(name.as_posix(), path) for name, path in found if not any(part[0] == "." for part in name.parts)]
    return sorted(shown)


def _is(folder: Path, listing: Listing) -> bool:
    """Return whether the files of ``folder`` are those of the listing; sizes are looked at first."""
    try:
        sizes = [(name, path.stat().st_size) for name, path in _files(folder)]
        return sizes == [(name, size) for name, size, _ in listing.files] and listed(folder) == listing
    except OSError:
        return False
