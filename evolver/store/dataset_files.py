"""A folder of lessons, published whole, and the hash by which it is known.

``choice.jsonl`` holds requests for the choice of a tool, each with one candidate, from which only the call bias is
chosen. Datasets of earlier versions have none.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit import durable_file

TRAIN, VALID, CHOICE = "train.jsonl", "valid.jsonl", "choice.jsonl"
_PIECE = 1 << 20


def write_dataset(
    folder: Path,
    *,
    train: Sequence[dict[str, Any]],
    valid: Sequence[dict[str, Any]],
    choice: Sequence[dict[str, Any]] = (),
) -> None:
    """Write the rows into ``folder``, in place of what is there; never half of it."""
    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for name, rows in ((TRAIN, train), (VALID, valid), (CHOICE, choice)):
        with (draft / name).open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    durable_file.publish_folder(draft, folder, instead=True)


def file_names(folder: Path) -> list[str]:
    """Return the names of the files that a dataset in ``folder`` has."""
    return [TRAIN, VALID, *([CHOICE] if (folder / CHOICE).exists() else [])]


def folder_sha256(folder: Path) -> str:
    """Return the hash by which a dataset is known: to its cycle, the ledger, and the manifests of adapters trained on
    it."""
    total = hashlib.sha256()
    for name in file_names(folder):
        with (folder / name).open("rb") as file:
            while piece := file.read(_PIECE):
                total.update(piece)
    return total.hexdigest()
