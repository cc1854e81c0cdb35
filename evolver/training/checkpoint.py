"""Checkpoints of a training run: published whole, the newest readable one wins."""

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from evolver.errors import TrainError
from toolkit import durable_file

FORMAT = 1
"""Part of every fingerprint; one more whenever a field of a checkpoint gets another meaning."""

TENSORS = "state.safetensors"
STATE = "state.json"


def save(folder: Path, step: int, fingerprint: str, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write checkpoint ``step`` below ``folder`` and drop older ones. ``state`` is JSON.

    Raises TrainError if it cannot be written; the older one is still there then.
    """
    draft, target = folder / f".draft-{step:08d}", folder / f"step-{step:08d}"
    shutil.rmtree(draft, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        save_file(tensors, draft / TENSORS)
        (draft / STATE).write_text(json.dumps({"fingerprint": fingerprint, **state}), encoding="utf-8")
        durable_file.publish_folder(draft, target)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise TrainError("disk", f"cannot write the checkpoint: {error}") from error
    for old in folder.iterdir():
        if old != target:
            shutil.rmtree(old, ignore_errors=True)


def latest(folder: Path, fingerprint: str) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Return the newest checkpoint that can be read and was made from the same inputs, or None."""
    for path in sorted(folder.glob("step-*"), reverse=True):
        try:
            state = json.loads((path / STATE).read_text(encoding="utf-8"))
            if state.pop("fingerprint") == fingerprint:
                return state, load_file(path / TENSORS)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError):
            continue  # the disk lost a part of it
    return None
