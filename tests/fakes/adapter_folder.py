"""Adapter folders that pass every check, of weights that no model has."""

from pathlib import Path
from typing import Any

from agent.adapters import active
from agent.adapters.active import ActiveAdapter
from agent.adapters.manifest import Calibration
from agent.adapters.package import MANIFEST, manifest_sha256
from tests.fakes.evolution import a_manifest, publish_adapter


def make_adapter(data: Path, name: str, *, base_sha256: str = "", promote: bool = False) -> Path:
    folder = publish_adapter(data, name, base_sha256=base_sha256).folder
    if promote:
        active.write(data, ActiveAdapter(name=name, sha256=sha256_of(folder)))
    return folder


def sha256_of(folder: Path) -> str:
    return manifest_sha256(folder)


def write_manifest(folder: Path, calibration: dict[str, Any] | None = None, tenant: str = "") -> None:
    """Let ``folder`` hold a manifest, and nothing that it names: enough for who only reads that."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {"auc": 1.0, "call_accuracy": 1.0, "no_call_accuracy": 1.0, "n_call": 1, "n_no_call": 1}
    manifest = a_manifest(folder.name, files={}).model_copy(
        update={"calibration": Calibration(**found, **calibration) if calibration else None, "tenant": tenant}
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json())
