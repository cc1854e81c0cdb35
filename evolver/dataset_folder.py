"""A folder of lessons: train.jsonl and valid.jsonl, published whole, and the hash by which it is known."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.serving.durable_file import flush


def publish(folder: Path, files: Mapping[str, Sequence[dict[str, Any]]]) -> None:
    """Write the rows of ``files`` by name into ``folder``, in place of what is there; never half of it."""
    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for name, rows in files.items():
        with (draft / name).open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())
    flush(draft)
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


def folder_sha256(folder: Path) -> str:
    """The hash by which a dataset folder is known."""
    total = hashlib.sha256()
    for path in sorted(folder.glob("*.jsonl")):
        total.update(path.read_bytes())
    return total.hexdigest()
