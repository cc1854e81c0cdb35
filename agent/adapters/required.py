"""data/due_adapters.json: the adapters that every vLLM must have loaded, besides the one that serves.

It maps names to the hashes that their manifests had when they were loaded first, so that no other adapter gets in under
the same name.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from agent.adapters import active
from agent.turn.messages import BASE
from toolkit import durable_file

FILE = "due_adapters.json"

_NAME = re.compile(active.NAME_PATTERN)
_SHA256 = re.compile("[0-9a-f]{64}")


def path(data_folder: Path) -> Path:
    return data_folder / FILE


def read(data_folder: Path, file: str = FILE) -> dict[str, str]:
    """Return hashes by name, those in ``file``.

    A missing or damaged file is empty: it can only cost a load that somebody asks for again.
    """
    try:
        entries = json.loads((data_folder / file).read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(entries, dict):
        return {}
    return {
        name: sha256
        for name, sha256 in entries.items()
        if name != BASE and _NAME.fullmatch(name) and isinstance(sha256, str) and _SHA256.fullmatch(sha256)
    }


def write(data_folder: Path, adapters: Mapping[str, str], file: str = FILE) -> None:
    durable_file.replace(data_folder / file, json.dumps(adapters, sort_keys=True).encode())


def add(data_folder: Path, name: str, sha256: str) -> None:
    write(data_folder, {**read(data_folder), name: sha256})


def remove(data_folder: Path, name: str) -> None:
    write(data_folder, {kept: sha256 for kept, sha256 in read(data_folder).items() if kept != name})
