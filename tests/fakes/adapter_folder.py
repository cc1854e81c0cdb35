"""Adapter folders that are whole by their manifests, with weights that no model has."""

import hashlib
import json
from pathlib import Path

from agent.serving import active_adapter
from agent.serving.active_adapter import ActiveAdapter
from agent.serving.adapter_folder import FILES, folder_of, read_manifest


def make_adapter(data: Path, name: str, *, base_sha256: str = "", promote: bool = False) -> Path:
    folder = folder_of(data, name)
    folder.mkdir(parents=True)
    for file in FILES:
        (folder / file).write_text(f"{name} {file}")
    files = {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in FILES}
    manifest = {"files": files, "calibration": None, "base_sha256": base_sha256}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    if promote:
        active_adapter.write(data, ActiveAdapter(name=name, sha256=sha256_of(folder)))
    return folder


def sha256_of(folder: Path) -> str:
    return read_manifest(folder).sha256
