"""Adapter folders: what is in one, publishing one whole or not at all, and checking one before it is used.

A folder holds ``adapter_model.safetensors`` and ``adapter_config.json``, as PEFT and vLLM read them, and
``manifest.json``, which names the two with their hashes. Nothing else is accepted.
"""

import json
import re
import struct
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.serving.adapter_folder import file_sha256
from agent.serving.durable_file import flush
from evolver.errors import AdapterInvalid

WEIGHTS = "adapter_model.safetensors"
PEFT_CONFIG = "adapter_config.json"
MANIFEST = "manifest.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_LARGEST_HEADER = 16 << 20


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Calibration(_Frozen):
    """The bias that serving adds to the logit of ``token_id`` in requests with tools, and how it did on validation."""

    token_id: int
    bias: float
    auc: float
    call_accuracy: float
    no_call_accuracy: float
    n_call: int
    n_no_call: int


class Metrics(_Frozen):
    """Losses are nats per target token; ``tokens_saved`` is what sharing prefixes left out."""

    loss_first: float
    loss_last: float
    loss_valid: float | None = None
    steps: int
    best_step: int | None = None
    """Whose weights these are: those with the lowest loss in validation during training."""
    stopped_early: bool = False
    lessons: int
    lessons_too_long: int = 0
    epochs_done: float
    tokens_computed: int
    tokens_saved: int
    target_tokens: int


class Environment(_Frozen):
    """What else the bytes of an adapter depend on.

    ``deterministic``: the same seed, threads and processes give the same bytes; on a GPU they need not, nor where the
    time budget cut the plan.
    ``unshared``: why no prefixes were shared, if none were.
    """

    device: str
    threads: int
    processes: int
    deterministic: bool
    unshared: str | None = None
    halvings: int = 0
    recomputes: bool = False


class Probe(_Frozen):
    """How the trainer's model saw a fixed text: the log-probability (nats) of each token but the first, given those
    before it, with the adapter and without."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    base_logprobs: tuple[float, ...]


class Manifest(_Frozen):
    """``manifest.json``. Hashes are sha256 in hex; ``files`` maps names to hashes."""

    name: str
    files: dict[str, str]
    base_model: str
    base_sha256: str
    template_sha256: str
    dataset_sha256: str
    tenants: dict[str, int] = {}
    """How many logged turns of each tenant ("": of none) the dataset was made from; empty where none is anybody's."""
    parent: str | None = None
    parent_sha256: str | None = None
    hyper_parameters: dict[str, Any]
    seed: int
    metrics: Metrics
    calibration: Calibration | None = None
    environment: Environment | None = None
    probe: Probe | None = None
    wall_seconds: float
    created_at: float = Field(description="seconds since the epoch, UTC")
    versions: dict[str, str]


def manifest_sha256(folder: Path) -> str:
    """Identifies an adapter: the hash of its manifest, which names the hashes of its files."""
    return file_sha256(folder / MANIFEST)


def check_name(name: str) -> None:
    """Raise AdapterInvalid unless ``name`` can be a folder name and a model name."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise AdapterInvalid(f"adapter name {name!r}: use small letters, digits, '.', '_' and '-'")


def publish(draft: Path, target: Path, manifest: Manifest) -> None:
    """Make ``draft`` (weights and PEFT's config, on the same file system) the adapter folder ``target``.

    Writes the manifest, flushes everything, renames, flushes the parent: after a crash ``target`` is whole or absent.
    Raises AdapterInvalid if the draft is no adapter or ``target`` exists.
    """
    if target.exists():
        raise AdapterInvalid(f"{target.name} exists; an adapter is never replaced")
    (draft / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    verify(draft)
    for name in (WEIGHTS, PEFT_CONFIG, MANIFEST):
        flush(draft / name)
    flush(draft)
    draft.rename(target)
    flush(target.parent)


def verify(folder: Path, *, base_sha256: str | None = None) -> Manifest:
    """The manifest of an adapter folder whose every file is as the manifest says.

    ``base_sha256``: the model that will serve it (``model_sha256``). Raises AdapterInvalid.
    """
    manifest = read_manifest(folder)
    check_name(manifest.name)
    if set(manifest.files) != {WEIGHTS, PEFT_CONFIG}:
        raise AdapterInvalid(f"{folder.name}: the manifest must name {WEIGHTS} and {PEFT_CONFIG}, nothing else")
    present = {entry.name for entry in folder.iterdir()}
    if present != {WEIGHTS, PEFT_CONFIG, MANIFEST}:
        odd = sorted(present ^ {WEIGHTS, PEFT_CONFIG, MANIFEST})
        raise AdapterInvalid(f"{folder.name}: missing or foreign files: {', '.join(odd)}")
    for name, expected in manifest.files.items():
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise AdapterInvalid(f"{folder.name}: {name} is no plain file")
        if file_sha256(path) != expected:
            raise AdapterInvalid(f"{folder.name}: {name} is not the file that the manifest names")
    if base_sha256 is not None and manifest.base_sha256 != base_sha256:
        raise AdapterInvalid(
            f"{folder.name}: made for another base model ({manifest.base_model}); let one of this model serve, or set "
            "[agent.serving] model back"
        )
    rank = _check_peft_config(folder)
    _check_weights(folder, rank)
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an adapter folder, its files unseen. Raises AdapterInvalid."""
    path = folder / MANIFEST
    try:
        if path.is_symlink():
            raise AdapterInvalid(f"{folder.name}: {MANIFEST} is no plain file")
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise AdapterInvalid(f"{folder.name}: {MANIFEST}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise AdapterInvalid(f"{folder.name}: {MANIFEST}: {where}: {first['msg']}") from None


def _check_peft_config(folder: Path) -> int:
    try:
        config = json.loads((folder / PEFT_CONFIG).read_bytes())
        kind, rank, extra = config["peft_type"], config["r"], config.get("modules_to_save")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise AdapterInvalid(f"{folder.name}: {PEFT_CONFIG} is no PEFT configuration") from None
    if kind != "LORA" or not isinstance(rank, int) or extra:
        raise AdapterInvalid(f"{folder.name}: {PEFT_CONFIG} is no plain LoRA (vLLM serves nothing else)")
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
        raise AdapterInvalid(f"{folder.name}: {WEIGHTS} is no safetensors file with tensors") from None
    if path.stat().st_size != 8 + length + ends:
        raise AdapterInvalid(f"{folder.name}: {WEIGHTS} is cut short")
    for name, shape in shapes.items():
        down, up = name.endswith(".lora_A.weight"), name.endswith(".lora_B.weight")
        if not (down or up) or len(shape) != 2 or shape[0 if down else 1] != rank:
            raise AdapterInvalid(f"{folder.name}: {WEIGHTS}: {name} {shape} is no LoRA matrix of rank {rank}")
