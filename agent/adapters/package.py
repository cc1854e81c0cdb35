"""Adapter folders, data/adapters/NAME: publishing one whole or not at all, and checking one before it is used.

A folder holds ``adapter_model.safetensors`` and ``adapter_config.json``, as PEFT and vLLM read them, and
``manifest.json``, which names the two with their hashes. Nothing else is accepted: vLLM also reads other forms of
weights, which may run code.
"""

import hashlib
import json
import re
import struct
from pathlib import Path

from pydantic import ValidationError

from agent.adapters.manifest import Manifest
from agent.errors import AdapterInvalid
from toolkit import durable_file
from toolkit.file_hash import file_sha256

WEIGHTS = "adapter_model.safetensors"
PEFT_CONFIG = "adapter_config.json"
MANIFEST = "manifest.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_LARGEST_HEADER = 16 << 20


def folder_of(data_folder: Path, name: str) -> Path:
    """Return the folder of the adapter ``name``."""
    return data_folder / "adapters" / name


def manifest_sha256(folder: Path) -> str:
    """Return the hash of the adapter's manifest, which names the hashes of its files. It identifies the adapter.

    Raises AdapterInvalid when it cannot be read.
    """
    try:
        return file_sha256(folder / MANIFEST)
    except OSError as error:
        raise _invalid(folder, f"{MANIFEST}: {error.strerror}") from None


def check_name(name: str) -> None:
    """Raise AdapterInvalid unless ``name`` can be a folder name and a model name."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise AdapterInvalid(f"adapter name {name!r}: use small letters, digits, '.', '_' and '-'")


def publish(draft: Path, target: Path, manifest: Manifest) -> None:
    """Make ``draft`` (weights and PEFT's config, on the same file system) the adapter folder ``target``.

    Writes the manifest, then as ``durable_file.publish_folder``: after a crash ``target`` is whole or absent. Raises
    AdapterInvalid if the draft is no adapter or ``target`` exists.
    """
    if target.exists():
        raise AdapterInvalid(f"{target.name} exists; an adapter is never replaced")
    (draft / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    try:
        check_adapter(draft)
    except AdapterInvalid as error:
        raise AdapterInvalid(error.problem) from error
    durable_file.publish_folder(draft, target)


def check_adapter(folder: Path, *, sha256: str = "", base_sha256: str | None = None) -> Manifest:
    """Return the manifest of an adapter folder whose every file is as the manifest says.

    ``sha256``: what ``manifest_sha256`` must be; ``base_sha256``: of the model that will serve it (``model_sha256``).
    "" or None where that is not known. Raises AdapterInvalid.
    """
    if sha256 and manifest_sha256(folder) != sha256:
        raise _invalid(folder, f"{MANIFEST} is not the one that was loaded first")
    manifest = read_manifest(folder)
    check_name(manifest.name)
    if set(manifest.files) != {WEIGHTS, PEFT_CONFIG}:
        raise _invalid(folder, f"the manifest must name {WEIGHTS} and {PEFT_CONFIG}, nothing else")
    try:
        _check_files(folder, manifest)
        if base_sha256 and manifest.base_sha256 != base_sha256:
            raise AdapterInvalid(
                f"{folder.name}: made for another base model ({manifest.base_model})",
                "let one of this model serve, or set [agent.serving] model back",
            )
        _check_weights(folder, _check_peft_config(folder))
    except OSError as error:
        raise _invalid(folder, f"{error.filename}: {error.strerror}") from error
    return manifest


def template_warning(manifest: Manifest, template_sha256: str) -> str:
    """Return a warning if the adapter was trained with another chat template than the one that serves now.

    "" if they are the same, or if ``template_sha256`` is "" (not known).
    """
    if not template_sha256 or manifest.template_sha256 == template_sha256:
        return ""
    name = manifest.name
    return f"{name} learned with another chat template, so it may answer worse; train a new one with: evolver cycle"


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of an adapter folder, its files unseen. Raises AdapterInvalid."""
    path = folder / MANIFEST
    try:
        if path.is_symlink():
            raise _invalid(folder, f"{MANIFEST} is no plain file")
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise _invalid(folder, f"{MANIFEST}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise _invalid(folder, f"{MANIFEST}: {where}: {first['msg']}") from None


def model_sha256(folder: Path) -> str:
    """Return the hash that identifies a base model."""
    return files_sha256(model_files(folder))


def model_files(folder: Path) -> list[Path]:
    """Return the files that make a base model: its configuration and weights."""
    return [folder / "config.json", *folder.glob("*.safetensors")]


def files_sha256(paths: list[Path]) -> str:
    """Return one hash for several files: their names and contents, in the order of the names."""
    total = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.name):
        total.update(f"{path.name}\0{file_sha256(path)}\n".encode())
    return total.hexdigest()


def _check_files(folder: Path, manifest: Manifest) -> None:
    present = {entry.name for entry in folder.iterdir()}
    if present != {WEIGHTS, PEFT_CONFIG, MANIFEST}:
        odd = sorted(present ^ {WEIGHTS, PEFT_CONFIG, MANIFEST})
        raise _invalid(folder, f"missing or foreign files: {', '.join(odd)}")
    for name, expected in manifest.files.items():
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise _invalid(folder, f"{name} is no plain file")
        if file_sha256(path) != expected:
            raise _invalid(folder, f"{name} is not the file that the manifest names")


def _check_peft_config(folder: Path) -> int:
    try:
        config = json.loads((folder / PEFT_CONFIG).read_bytes())
        kind, rank, extra = config["peft_type"], config["r"], config.get("modules_to_save")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _invalid(folder, f"{PEFT_CONFIG} is no PEFT configuration") from None
    if kind != "LORA" or not isinstance(rank, int) or extra:
        raise _invalid(folder, f"{PEFT_CONFIG} is no plain LoRA (vLLM serves nothing else)")
    return rank


def _check_weights(folder: Path, rank: int) -> None:
    """Read the safetensors header without loading anything. Layout: huggingface.co/docs/safetensors."""
    path = folder / WEIGHTS
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, _LARGEST_HEADER)))
        shapes = {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
        ends = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
    except (ValueError, KeyError, TypeError, AttributeError, struct.error):
        raise _invalid(folder, f"{WEIGHTS} is no safetensors file with tensors") from None
    if path.stat().st_size != 8 + length + ends:
        raise _invalid(folder, f"{WEIGHTS} is cut short")
    for name, shape in shapes.items():
        down, up = name.endswith(".lora_A.weight"), name.endswith(".lora_B.weight")
        if not (down or up) or len(shape) != 2 or shape[0 if down else 1] != rank:
            raise _invalid(folder, f"{WEIGHTS}: {name} {shape} is no LoRA matrix of rank {rank}")


def _invalid(folder: Path, problem: str) -> AdapterInvalid:
    return AdapterInvalid(f"adapter {folder.name}: {problem}", "serve another one with: evolver rollback")
