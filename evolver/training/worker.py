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
from collections.abc import Callable
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from agent.serving.adapter_folder import file_sha256, model_sha256
from evolver.adapter_files import (
    PEFT_CONFIG,
    WEIGHTS,
    Environment,
    Manifest,
    Metrics,
    check_name,
    publish,
    verify,
)
from evolver.dataset_folder import TRAIN, VALID, folder_sha256
from evolver.errors import AdapterInvalid, TrainError
from evolver.training.calibration import calibrate
from evolver.training.prefix_tree import Lesson
from evolver.training.render import RowInvalid, Tokenizer, lessons, read_rows

if TYPE_CHECKING:
    from evolver.training.loop import Run
    from evolver.training.model import Adapted
    from evolver.training.team import Team

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
    return attempt(Path(sys.argv[1]), emit)


def attempt(spec: Path, emit: Callable[[dict[str, Any]], None]) -> int:
    """Run the spec in a file; the last event says how that went. Returns the exit code."""
    try:
        manifest = run(json.loads(spec.read_text(encoding="utf-8")), emit)
    except (TrainError, RowInvalid, AdapterInvalid, MemoryError, OSError, RuntimeError) as error:
        failure = _classified(error)
        if failure is None:
            raise
        emit({"event": "failed", "kind": failure.kind, "reason": failure.reason, "final": failure.final})
        return 1
    if manifest is not None:
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


def _classified(error: Exception) -> TrainError | None:
    """What an error says about the training; None: it is a bug."""
    from evolver.training.memory import is_out_of_memory

    match error:
        case TrainError():
            return error
        case RowInvalid():
            return TrainError("data", str(error))
        case AdapterInvalid():
            return TrainError("model", str(error))
        case _ if is_out_of_memory(error):
            return TrainError("memory", (str(error).splitlines() or ["out of memory"])[0])
        case OSError():
            return TrainError("disk", str(error))
    return None


def run(spec: dict[str, Any], emit: Callable[[dict[str, Any]], None]) -> Manifest | None:
    """Train as ``spec`` says (see evolver.train._spec) and publish the adapter.

    Of several processes that do this together, the first one reports and publishes; the others return None.
    """
    began = time.monotonic()
    from transformers import AutoTokenizer

    from evolver.training.loop import Trainer
    from evolver.training.probe import take_probe
    from evolver.training.team import open_team
    from evolver.training.validate import validate

    config: dict[str, Any] = spec["config"]
    dataset, model_folder = Path(spec["dataset_folder"]), Path(spec["model_folder"])
    parent = Path(spec["parent"]) if spec["parent"] else None
    check_name(spec["name"])
    team = open_team(sharded=config["shard_model"])
    say = emit if team.leads else _silent
    _prepare_torch(config, team.device.type)
    base_sha256 = model_sha256(model_folder)
    if parent is not None:
        verify(parent, base_sha256=base_sha256)
    template = Path(spec["template"]).read_text(encoding="utf-8")
    tokenizer = AutoTokenizer.from_pretrained(model_folder, local_files_only=True)
    longest = config["max_lesson_tokens"]
    taught, too_long = _read(dataset / TRAIN, tokenizer, template, longest)
    held_out, _ = _read(dataset / VALID, tokenizer, template, longest)
    if not taught:
        raise TrainError("data", f"{TRAIN} holds no lesson short enough")
    adapted = _open_model(model_folder, parent, config, team)
    sizes = {"lessons": len(taught), "valid": len(held_out), "processes": team.size}
    say({"event": "loaded", **sizes, "unshared": adapted.unshared, "seconds": time.monotonic() - began})

    dataset_sha256 = folder_sha256(dataset)
    inputs = [config, base_sha256, dataset_sha256, spec["template_sha256"], spec["parent_sha256"]]
    trainer = Trainer(
        adapted,
        taught,
        held_out,
        config,
        team=team,
        failures=spec["halvings"],
        work=Path(spec["work_folder"]),
        fingerprint=json.dumps([*inputs, *_conditions(adapted, team.device.type)]),
        began=began,
        emit=say,
    )
    done = trainer.train()
    call_token = tokenizer.encode(CALL_OPENING, add_special_tokens=False)[0]
    validation = validate(adapted, held_out, max(1, config["tokens_per_pack"] >> done.halvings), call_token)
    say({"event": "validated", "step": done.step, "loss": validation.loss if validation else None})
    margins = validation.margins if validation else None
    about = {
        "base_sha256": base_sha256,
        "dataset_sha256": dataset_sha256,
        "metrics": _metrics(done, validation.loss if validation else None, len(taught), too_long),
        "calibration": calibrate(call_token, margins["call"], margins["no_call"]) if margins else None,
        "environment": _environment(team.device.type, team.size, adapted.unshared, done),
        "probe": take_probe(adapted, tokenizer),
        "wall_seconds": round(trainer.wall_seconds(), 3),
    }
    team.close()
    return None if not team.leads else _publish(spec, adapted, about)


def _open_model(folder: Path, parent: Path | None, config: dict[str, Any], team: "Team") -> "Adapted":
    from evolver.training.memory import is_out_of_memory
    from evolver.training.model import open_model

    try:
        return open_model(folder, parent, config, team)
    except (ValueError, KeyError, ImportError) as error:
        raise TrainError("model", f"cannot load the model: {error}") from error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainError("memory", f"the model does not fit: {error}".splitlines()[0], final=True) from error


def _conditions(adapted: "Adapted", device: str) -> list[Any]:
    """What else decides the bits of a step, or what a checkpoint holds: a run goes on only where all of it is equal."""
    import torch

    from evolver.training import checkpoint
    from evolver.training.loop import Run

    threads = torch.get_num_threads() if device == "cpu" else 0
    machine = [device, threads, torch.backends.cpu.get_cpu_capability(), str(adapted.base.dtype), version("torch")]
    return [*machine, checkpoint.FORMAT, [field.name for field in fields(Run)]]


def _metrics(done: "Run", loss_valid: float | None, lessons: int, too_long: int) -> Metrics:
    return Metrics(
        loss_first=done.losses[0],
        loss_last=sum(done.losses[-5:]) / len(done.losses[-5:]),
        loss_valid=loss_valid,
        steps=done.step,
        best_step=done.best_step or done.step,
        stopped_early=done.stopped_early,
        lessons=lessons,
        lessons_too_long=too_long,
        epochs_done=round(done.lessons_seen / lessons, 4),
        tokens_computed=done.tokens_computed,
        tokens_saved=done.tokens_plain - done.tokens_computed,
        target_tokens=done.target_tokens,
    )


def _publish(spec: dict[str, Any], adapted: "Adapted", about: dict[str, Any]) -> Manifest:
    """Write the adapter folder, whole or not at all. Raises TrainError when the disk does not take it."""
    output, parent = Path(spec["output_folder"]), Path(spec["parent"]) if spec["parent"] else None
    draft = output.parent / f".{output.name}.draft"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        adapted.save(draft, spec["model_id"])
        manifest = Manifest(
            name=spec["name"],
            files={name: file_sha256(draft / name) for name in (WEIGHTS, PEFT_CONFIG)},
            base_model=spec["model_id"],
            template_sha256=spec["template_sha256"],
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


def _environment(device: str, processes: int, unshared: str | None, done: "Run") -> Environment:
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


def _silent(event: dict[str, Any]) -> None:
    """For the processes that do not report."""


def _prepare_torch(config: dict[str, Any], device: str) -> None:
    import torch
    from transformers.utils import logging

    if config["threads"]:
        torch.set_num_threads(config["threads"])
    if device == "cuda":
        torch.cuda.set_per_process_memory_fraction(config["gpu_memory_share"])
    logging.disable_progress_bar()


def _read(path: Path, tokenizer: Tokenizer, template: str, longest: int) -> tuple[list[Lesson], int]:
    """The lessons of a file that are at most ``longest`` tokens long, and how many are longer."""
    made = [lesson for row in read_rows(path) for lesson in lessons(row, tokenizer, template)]
    short = [lesson for lesson in made if len(lesson.tokens) <= longest]
    return short, len(made) - len(short)


if __name__ == "__main__":
    sys.exit(main())
