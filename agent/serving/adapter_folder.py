"""An adapter's folder, data/adapters/NAME, and the manifest.json in it that names and hashes its files."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import AdapterError

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """What serving needs to know of an adapter. ``logit_bias``: its calibration, for requests with tools."""

    sha256: str
    files: dict[str, str]
    logit_bias: dict[str, float] | None


def folder_of(data_folder: Path, name: str) -> Path:
    return data_folder / "adapters" / name


def read_manifest(folder: Path) -> Manifest:
    """Raises AdapterError when it is missing or damaged."""
    file = folder / MANIFEST
    try:
        content = file.read_bytes()
        values = json.loads(content)
        return Manifest(hashlib.sha256(content).hexdigest(), dict(values["files"]), _logit_bias(values))
    except OSError as error:
        raise _damaged(folder, f"{MANIFEST}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(folder, f"{MANIFEST} is damaged") from error


def verify(folder: Path, sha256: str = "") -> Manifest:
    """Hash every file of the adapter again. ``sha256``: what manifest.json itself must hash to.

    Raises AdapterError when anything differs or is missing.
    """
    manifest = read_manifest(folder)
    if sha256 and manifest.sha256 != sha256:
        raise _damaged(folder, f"{MANIFEST} is not the one that was promoted")
    for name, expected in manifest.files.items():
        try:
            with (folder / name).open("rb") as file:
                actual = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise _damaged(folder, f"{name}: {error.strerror}") from error
        if actual != expected:
            raise _damaged(folder, f"{name} does not match its manifest")
    return manifest


def _logit_bias(values: dict[str, Any]) -> dict[str, float] | None:
    calibration = values.get("calibration")
    return None if calibration is None else {str(int(calibration["token_id"])): float(calibration["bias"])}


def _damaged(folder: Path, problem: str) -> AdapterError:
    return AdapterError(f"adapter {folder.name}: {problem}; serve another one with: evolver rollback")
