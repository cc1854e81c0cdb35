"""The training process: ``python -m evolver.train_worker SPEC.json``, started by evolver.train only.

Writes one JSON object per line to stdout, the last of them ``done`` or ``failed``. Ends itself when its stdin closes,
which is when its parent dies.
"""

import json
import os
import shutil
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evolver.adapter_files import (
    PEFT_CONFIG,
    WEIGHTS,
    Manifest,
    Metrics,
    check_name,
    file_sha256,
    folder_sha256,
    manifest_sha256,
    model_sha256,
    publish,
    verify,
)
from evolver.errors import AdapterInvalid, TrainError
from evolver.training.calibration import calibrate
from evolver.training.prefix_tree import Lesson
from evolver.training.render import RowInvalid, Tokenizer, lessons, read_rows

CALL_OPENING = "<tool_call>"


def main() -> int:
    """Read the spec named on the command line and run it. Returns the exit code."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def emit(event: dict[str, Any]) -> None:
        channel.write(json.dumps(event) + "\n")
        channel.flush()

    _flush_denormals()
    try:
        spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
        manifest = run(spec, emit)
    except (TrainError, RowInvalid, AdapterInvalid, MemoryError, OSError) as error:
        emit({"event": "failed", **_classified(error)})
        return 1
    emit({"event": "done", "manifest": manifest.model_dump(mode="json")})
    return 0


def _flush_denormals() -> None:
    """For this process only: whoever else runs ``run`` keeps numbers as IEEE 754 has them."""
    import torch

    torch.set_flush_denormal(True)


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)


def _classified(error: Exception) -> dict[str, str]:
    match error:
        case TrainError():
            return {"kind": error.kind, "reason": error.reason}
        case RowInvalid():
            return {"kind": "data", "reason": str(error)}
        case AdapterInvalid():
            return {"kind": "model", "reason": str(error)}
        case MemoryError():
            return {"kind": "memory", "reason": "out of memory"}
        case _:
            return {"kind": "disk", "reason": str(error)}


def run(spec: dict[str, Any], emit: Any) -> Manifest:
    """Train as ``spec`` says (see evolver.train._spec) and publish the adapter."""
    began = time.monotonic()
    import torch
    from transformers import AutoTokenizer

    config: dict[str, Any] = spec["config"]
    dataset, model_folder, output = (Path(spec[key]) for key in ("dataset_folder", "model_folder", "output_folder"))
    parent = Path(spec["parent"]) if spec["parent"] else None
    check_name(spec["name"])
    _prepare_torch(config["threads"])
    base_sha256 = model_sha256(model_folder)
    if parent is not None:
        verify(parent, base_sha256=base_sha256)
    template = Path(spec["template"]).read_text(encoding="utf-8")
    tokenizer = AutoTokenizer.from_pretrained(model_folder, local_files_only=True)
    longest = config["max_lesson_tokens"]
    taught, too_long = _read(dataset / "train.jsonl", tokenizer, template, longest)
    held_out, _ = _read(dataset / "valid.jsonl", tokenizer, template, longest)
    if not taught:
        raise TrainError("data", "train.jsonl holds no lesson short enough")

    from evolver.training.loop import Trainer
    from evolver.training.model import open_model
    from evolver.training.validate import validate

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        adapted = open_model(model_folder, parent, config, config["seed"], device)
    except (ValueError, KeyError, ImportError) as error:
        raise TrainError("model", f"cannot load the model: {error}") from error
    emit({"event": "loaded", "lessons": len(taught), "valid": len(held_out), "seconds": time.monotonic() - began})

    dataset_sha256 = folder_sha256([dataset / "train.jsonl", dataset / "valid.jsonl"])
    fingerprint = json.dumps([config, base_sha256, dataset_sha256, spec["template_sha256"], spec["parent_sha256"]])
    work = Path(spec["work_folder"])
    trainer = Trainer(adapted, taught, config, halvings=spec["halvings"], work=work, fingerprint=fingerprint, emit=emit)
    done = trainer.train()
    call_token = tokenizer.encode(CALL_OPENING, add_special_tokens=False)[0]
    validation = validate(adapted, held_out, config["tokens_per_pack"], call_token)
    emit({"event": "validated", "loss": validation.loss if validation else None})

    draft = output.parent / f".{output.name}.draft"
    shutil.rmtree(draft, ignore_errors=True)
    adapted.save(draft, spec["model_id"])
    manifest = Manifest(
        name=spec["name"],
        files={name: file_sha256(draft / name) for name in (WEIGHTS, PEFT_CONFIG)},
        base_model=spec["model_id"],
        base_sha256=base_sha256,
        template_sha256=spec["template_sha256"],
        dataset_sha256=dataset_sha256,
        parent=parent.name if parent else None,
        parent_sha256=manifest_sha256(parent) if parent else None,
        hyper_parameters=config,
        seed=config["seed"],
        metrics=Metrics(
            loss_first=done.losses[0],
            loss_last=sum(done.losses[-5:]) / len(done.losses[-5:]),
            loss_valid=validation.loss if validation else None,
            steps=done.step,
            lessons=len(taught),
            lessons_too_long=too_long,
            epochs_done=round(done.lessons_seen / len(taught), 4),
            tokens_computed=done.tokens_computed,
            tokens_saved=done.tokens_plain - done.tokens_computed,
            target_tokens=done.target_tokens,
        ),
        calibration=calibrate(call_token, validation.margins["call"], validation.margins["no_call"])
        if validation
        else None,
        wall_seconds=round(time.monotonic() - began, 3),
        created_at=time.time(),
        versions={name: version(name) for name in ("torch", "transformers", "peft")},
    )
    publish(draft, output, manifest)
    shutil.rmtree(work, ignore_errors=True)
    return manifest


def _prepare_torch(threads: int) -> None:
    import torch
    from transformers.utils import logging

    if threads:
        torch.set_num_threads(threads)
    logging.disable_progress_bar()


def _read(path: Path, tokenizer: Tokenizer, template: str, longest: int) -> tuple[list[Lesson], int]:
    """The lessons of a file that are at most ``longest`` tokens long, and how many are longer."""
    made = [lesson for row in read_rows(path) for lesson in lessons(row, tokenizer, template)]
    short = [lesson for lesson in made if len(lesson.tokens) <= longest]
    return short, len(made) - len(short)


if __name__ == "__main__":
    sys.exit(main())
