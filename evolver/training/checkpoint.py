"""Checkpoints of a training run: published whole, the newest readable one wins."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

TENSORS = "state.safetensors"
STATE = "state.json"


def save(folder: Path, step: int, fingerprint: str, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write checkpoint ``step`` below ``folder`` and drop older ones. ``state`` is JSON."""
    draft, target = folder / f".draft-{step:08d}", folder / f"step-{step:08d}"
    shutil.rmtree(draft, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    draft.mkdir(parents=True)
    save_file(tensors, draft / TENSORS)
    (draft / STATE).write_text(json.dumps({"fingerprint": fingerprint, **state}), encoding="utf-8")
    for path in (draft / TENSORS, draft / STATE, draft):
        _flush(path)
    draft.rename(target)
    _flush(folder)
    for old in folder.iterdir():
        if old != target:
            shutil.rmtree(old, ignore_errors=True)


def latest(folder: Path, fingerprint: str) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """The newest checkpoint that was made from the same inputs, or None."""
    for path in sorted(folder.glob("step-*"), reverse=True):
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
        if state.pop("fingerprint") == fingerprint:
            return state, load_file(path / TENSORS)
    return None


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
