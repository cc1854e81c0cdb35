"""The files of a training on a node: those that were sent there, and those of its processes. Imports no torch."""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from agent.cluster.folders import Listing, listed

PIECE = 16 << 20
"""Most bytes that are read at once."""
DATASET, PARENT, WORK, OUTPUT = "dataset", "parent", "out/work", "out/adapter"
"""Folders, below that of the training."""
_PREFIX, _LOCK = "apprentice-train-", "lock"


def aside(step: int) -> str:
    """Return the folder of a checkpoint that was set aside."""
    return f"aside/step-{step:08d}"


class NodeFolder:
    """A temporary folder for one training. The next one removes what a killed process left behind."""

    def __init__(self) -> None:
        self._folder, self._lock = _locked_folder(Path(tempfile.gettempdir()))

    def take(self, source: Path, folder: str) -> None:
        """Move the folder ``source`` of this machine to ``folder``. Raises OSError."""
        target = self._folder / folder
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, target)

    def spec(self, spec: dict[str, Any], model: Path) -> dict[str, Any]:
        """Return ``spec`` (evolver.training.supervisor) with the folders of this machine; ``model`` is the base
        model's."""
        parent = spec["parent"] and str(self._folder / PARENT / Path(spec["parent"]).name)
        here = {"dataset_folder": DATASET, "output_folder": OUTPUT, "work_folder": WORK}
        folders = {key: str(self._folder / folder) for key, folder in here.items()}
        return {**spec, **folders, "model_folder": str(model), "parent": parent}

    def set_aside(self, step: int) -> bool:
        """Keep the checkpoint of ``step`` until it is read; return False where the worker has dropped it already."""
        target = self._folder / aside(step)
        target.mkdir(parents=True, exist_ok=True)
        try:
            for path in (self._folder / WORK / target.name).iterdir():
                os.link(path, target / path.name)
        except FileNotFoundError:
            shutil.rmtree(target)
            return False
        return True

    def listed(self, folder: str) -> Listing:
        """Return the files in ``folder``."""
        return listed(self._folder / folder)

    def read(self, folder: str, name: str, offset: int) -> bytes:
        """Return at most PIECE bytes of a file from ``offset``; b"" at its end. Raises OSError."""
        with (self._folder / folder / name).open("rb") as file:
            file.seek(offset)
            return file.read(PIECE)

    def remove(self, folder: str) -> None:
        """Remove ``folder``."""
        shutil.rmtree(self._folder / folder, ignore_errors=True)

    def path(self, name: str) -> Path:
        """Return the path of a file beside the folders."""
        return self._folder / name

    def close(self) -> None:
        """Remove all files."""
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._lock)


def _locked_folder(parent: Path) -> tuple[Path, int]:
    """Make a folder in ``parent`` that this process has locked; remove those whose process has ended."""
    for path in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        with suppress(OSError):
            lock = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path.parent, ignore_errors=True)
            finally:
                os.close(lock)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return folder, lock
