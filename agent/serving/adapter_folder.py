"""An adapter's folder, data/adapters/NAME: two files, and the manifest.json that names and hashes them."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import AdapterError

MANIFEST = "manifest.json"
FILES = ("adapter_config.json", "adapter_model.safetensors")
"""All that there may be besides the manifest: vLLM also reads other forms of weights, which may run code."""


@dataclass(frozen=True)
class Manifest:
    """What serving needs to know of an adapter. ``logit_bias``: its calibration, for requests with tools.

    ``base_sha256``: ``model_sha256`` of the model that it was trained on; "" where the manifest does not say.
    """

    sha256: str
    files: dict[str, str]
    logit_bias: dict[str, float] | None
    base_sha256: str = ""


def folder_of(data_folder: Path, name: str) -> Path:
    return data_folder / "adapters" / name


def read_manifest(folder: Path) -> Manifest:
    """Raises AdapterError when it is missing or damaged."""
    file = folder / MANIFEST
    try:
        content = file.read_bytes()
        values = json.loads(content)
        sha256, base_sha256 = hashlib.sha256(content).hexdigest(), str(values.get("base_sha256", ""))
        return Manifest(sha256, dict(values["files"]), _logit_bias(values), base_sha256)
    except OSError as error:
        raise _damaged(folder, f"{MANIFEST}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(folder, f"{MANIFEST} is damaged") from error


def verify(folder: Path, sha256: str = "", *, base_sha256: str = "") -> Manifest:
    """Hash every file of the adapter again. ``sha256``: what manifest.json itself must hash to; ``base_sha256``: of the
    model that is to serve it. "" where that is not known.

    Raises AdapterError when anything differs, is missing or is there besides.
    """
    manifest = read_manifest(folder)
    if sha256 and manifest.sha256 != sha256:
        raise _damaged(folder, f"{MANIFEST} is not the one that was loaded first")
    if set(manifest.files) != set(FILES):
        raise _damaged(folder, f"{MANIFEST} must name {' and '.join(FILES)}, nothing else")
    try:
        entries = {entry.name: entry for entry in folder.iterdir()}
        if odd := sorted(entries.keys() ^ {*FILES, MANIFEST}):
            raise _damaged(folder, f"missing or foreign files: {', '.join(odd)}")
        for name, entry in entries.items():
            if entry.is_symlink() or not entry.is_file():
                raise _damaged(folder, f"{name} is no plain file")
            if name != MANIFEST and file_sha256(entry) != manifest.files[name]:
                raise _damaged(folder, f"{name} does not match its manifest")
    except OSError as error:
        raise _damaged(folder, f"{error.filename}: {error.strerror}") from error
    if base_sha256 and manifest.base_sha256 != base_sha256:
        raise _damaged(folder, "it was trained on another model than the one that serves")
    return manifest


def model_sha256(folder: Path) -> str:
    """Identifies a base model."""
    return files_sha256(model_files(folder))


def model_files(folder: Path) -> list[Path]:
    """What makes a base model: its configuration and weights."""
    return [folder / "config.json", *folder.glob("*.safetensors")]


def files_sha256(paths: list[Path]) -> str:
    """One hash for several files: their names and contents, in the order of the names."""
    total = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.name):
        total.update(f"{path.name}\0{file_sha256(path)}\n".encode())
    return total.hexdigest()


def file_sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _logit_bias(values: dict[str, Any]) -> dict[str, float] | None:
    calibration = values.get("calibration")
    return None if calibration is None else {str(int(calibration["token_id"])): float(calibration["bias"])}


def _damaged(folder: Path, problem: str) -> AdapterError:
    return AdapterError(f"adapter {folder.name}: {problem}; serve another one with: evolver rollback")
