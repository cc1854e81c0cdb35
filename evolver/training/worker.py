"""The training process: ``python -m evolver.training.worker SPEC.json``, started by evolver.training.supervisor only.

Writes one JSON object per line to stdout, the last of them ``done`` or ``failed``. Ends itself when its stdin closes,
as it does when the parent dies.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.adapters.manifest import Calibration, Manifest, Probe
from agent.adapters.package import check_adapter, check_name, model_sha256
from agent.errors import AdapterInvalid
from evolver.errors import TrainError
from evolver.store.dataset_files import folder_sha256
from evolver.training.calibration import calibrate, deciding_margins
from evolver.training.data import Data, read_data
from evolver.training.publication import environment, metrics, parent_of, publish_adapter
from evolver.training.render import RowInvalid

if TYPE_CHECKING:
    from evolver.training.loop import Run
    from evolver.training.model import Adapted
    from evolver.training.team import Team


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
    """Run the spec in a file; the last event is ``done`` or ``failed``. Return the exit code."""
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
    """Flush denormals in this process only: whoever else runs ``run`` keeps numbers as IEEE 754 has them."""
    import torch

    torch.set_flush_denormal(True)


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)


def _classified(error: Exception) -> TrainError | None:
    """Return an error as one of training; None if it is a bug."""
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
    """Train as ``spec`` says (see evolver.training.supervisor._spec) and publish the adapter.

    Of several processes that do this together, the first one reports and publishes; the others return None.
    """
    began = time.monotonic()
    from evolver.training.loop import Trainer
    from evolver.training.team import check_alike, open_team

    config: dict[str, Any] = spec["config"]
    check_name(spec["name"])
    team = open_team(sharded=config["shard_model"])
    say = emit if team.leads else _silent
    _prepare_torch(config, team.device.type)
    hashes = _hashes(spec)
    data = read_data(spec)
    adapted = _open_model(Path(spec["model_folder"]), parent_of(spec), config, team)
    sizes = {"lessons": len(data.taught), "valid": len(data.held_out), "refused": data.refused, "processes": team.size}
    say({"event": "loaded", **sizes, "unshared": adapted.unshared, "seconds": time.monotonic() - began})
    conditions = _conditions(adapted, team.device.type)
    check_alike(team, [*conditions, adapted.min_gain])
    inputs = [config, *hashes.values(), spec["template_sha256"], spec["markers"], spec["parent_sha256"]]
    trainer = Trainer(
        adapted,
        data.taught,
        data.held_out,
        config,
        team=team,
        failures=spec["halvings"],
        work=Path(spec["work_folder"]),
        fingerprint=json.dumps([*inputs, *conditions]),
        began=began,
        emit=say,
    )
    done = trainer.train()
    about = {**hashes, **_measured(adapted, data, done, config, say)}
    about["environment"] = environment(team.device.type, team.size, adapted.unshared, done)
    about["wall_seconds"] = round(trainer.wall_seconds(), 3)
    team.close()
    return None if not team.leads else publish_adapter(spec, adapted, about)


def _hashes(spec: dict[str, Any]) -> dict[str, str]:
    """Return the hashes of base model and dataset. Raises AdapterInvalid if the parent is of another base."""
    base_sha256 = model_sha256(Path(spec["model_folder"]))
    parent = parent_of(spec)
    if parent is not None:
        check_adapter(parent, base_sha256=base_sha256)
    return {"base_sha256": base_sha256, "dataset_sha256": folder_sha256(Path(spec["dataset_folder"]))}


def _measured(
    adapted: "Adapted",
    data: Data,
    done: "Run",
    config: dict[str, Any],
    say: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Examine the trained adapter; return its metrics, its call bias and its probe, as the manifest has them."""
    found = examine(adapted, data, max(1, config["tokens_per_pack"] >> done.halvings))
    say({"event": "validated", "step": done.step, "loss": found.loss})
    return {
        "metrics": metrics(done, found.loss, data),
        "calibration": found.calibration,
        "probe": found.probe,
    }


@dataclass(frozen=True)
class Examined:
    """Measurements of an adapter: loss in nats per target token of the held-out lessons (None: there are none),
    call bias, and probe."""

    loss: float | None
    calibration: Calibration | None
    probe: Probe


def examine(adapted: "Adapted", data: Data, budget: int) -> Examined:
    """Examine ``adapted`` in passes of ``budget`` tokens."""
    from evolver.training.probe import take_probe
    from evolver.training.validate import validate

    found = validate(adapted, data.held_out, budget, data.call_token)
    judged = validate(adapted, data.choice, budget, data.call_token) or found
    margins = deciding_margins(judged.margins if judged else ())
    return Examined(
        loss=found.loss if found else None,
        calibration=calibrate(data.call_token, margins["call"], margins["no_call"]),
        probe=take_probe(adapted, data.tokenizer, data.profile),
    )


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
    """Return the other values on which the bits of a step and the content of a checkpoint depend. A run continues only
    if all of them are equal."""
    import torch

    from evolver.training import checkpoint
    from evolver.training.loop import Run

    threads = torch.get_num_threads() if device == "cpu" else 0
    machine = [device, threads, torch.backends.cpu.get_cpu_capability(), str(adapted.base.dtype), version("torch")]
    return [*machine, checkpoint.FORMAT, [field.name for field in fields(Run)]]


def _silent(event: dict[str, Any]) -> None:
    """Report nothing, for the processes that do not report."""


def _prepare_torch(config: dict[str, Any], device: str) -> None:
    import torch
    from transformers.utils import logging

    if config["threads"]:
        torch.set_num_threads(config["threads"])
    if device == "cuda":
        torch.cuda.set_per_process_memory_fraction(config["gpu_memory_share"])
    logging.disable_progress_bar()


if __name__ == "__main__":
    sys.exit(main())
