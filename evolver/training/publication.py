"""The trained adapter: its manifest, and its folder, published whole."""

import shutil
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from agent.adapters.manifest import Environment, Manifest, Metrics
from agent.adapters.package import PEFT_CONFIG, WEIGHTS, publish
from evolver.errors import TrainError
from toolkit.file_hash import file_sha256

if TYPE_CHECKING:
    from evolver.training.data import Data
    from evolver.training.loop import Run
    from evolver.training.model import Adapted


def parent_of(spec: dict[str, Any]) -> Path | None:
    """Return the folder of the adapter that training continues; None where it begins with the base model."""
    return Path(spec["parent"]) if spec["parent"] else None


def metrics(done: "Run", loss_valid: float | None, data: "Data") -> Metrics:
    """Return the metrics of a training on ``data``. ``loss_valid`` is in nats per target token; None without held-out
    lessons."""
    lessons = len(data.taught)
    return Metrics(
        loss_first=done.losses[0],
        loss_last=sum(done.losses[-5:]) / len(done.losses[-5:]),
        loss_valid=loss_valid,
        steps=done.step,
        best_step=done.best_step or done.step,
        stopped_early=done.stopped_early,
        lessons=lessons,
        lessons_too_long=data.too_long,
        rows_refused=data.refused,
        epochs_done=round(done.lessons_seen / lessons, 4),
        tokens_computed=done.tokens_computed,
        tokens_saved=done.tokens_plain - done.tokens_computed,
        target_tokens=done.target_tokens,
    )


def publish_adapter(spec: dict[str, Any], adapted: "Adapted", about: dict[str, Any]) -> Manifest:
    """Write the adapter folder, whole or not at all. Raises TrainError if it cannot be written."""
    output, parent = Path(spec["output_folder"]), parent_of(spec)
    draft = output.parent / f".{output.name}.draft"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        adapted.save(draft, spec["model_id"])
        manifest = Manifest(
            name=spec["name"],
            files={name: file_sha256(draft / name) for name in (WEIGHTS, PEFT_CONFIG)},
            base_model=spec["model_id"],
            template_sha256=spec["template_sha256"],
            tenant=spec["tenant"],
            tenants=spec["tenants"],
            parent=parent.name if parent else None,
            parent_sha256=spec["parent_sha256"],
            hyper_parameters=spec["config"],
            seed=spec["config"]["seed"],
            created_at=time.time(),
            versions={name: version(name) for name in ("torch", "transformers", "peft")},
            **about,
        )
        publish(draft, output, manifest)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise TrainError("disk", f"cannot write the adapter: {error}") from error
    shutil.rmtree(spec["work_folder"], ignore_errors=True)
    return manifest


def environment(device: str, processes: int, unshared: str | None, done: "Run") -> Environment:
    """Return the description of the ``processes`` that trained on ``device``."""
    import torch

    return Environment(
        device=device,
        threads=torch.get_num_threads(),
        processes=processes,
        deterministic=device == "cpu" and not (done.shortened or done.halvings or done.recomputes),
        unshared=unshared,
        halvings=done.halvings,
        recomputes=done.recomputes,
    )
