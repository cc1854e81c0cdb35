"""Dataset folder -> adapter folder: supervises the training process (evolver.train_worker). Imports no torch."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agent.prompt import TEMPLATE
from agent.serving.adapter_folder import model_sha256
from evolver.adapter_files import Manifest, check_name, manifest_sha256, verify
from evolver.dataset_folder import folder_sha256
from evolver.errors import AdapterInvalid, TrainError
from toolkit.config import Section

Progress = dict[str, Any]
_REASON_LINES = 12
_MOST_HALVINGS = 4
"""How often a process that lacked memory and ended is started again with smaller packs."""
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "17179869184"}
"""glibc keeps freed memory for the next step: returned, every step pays its page faults again."""


class TrainConfig(Section):
    """``[evolver.train]``."""

    rank: Annotated[
        Literal[8, 16, 32, 64, 128], Field(description="at most [agent.serving.vllm_process] max_lora_rank")
    ] = 16
    alpha: Annotated[int, Field(ge=1, le=1024)] = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    learning_rate: Annotated[float, Field(gt=0, le=0.1)] = 1.2e-3
    warmup_share: Annotated[float, Field(ge=0, le=0.5, description="of all steps")] = 0.06
    decay: Literal["linear", "cosine"] = "linear"
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    epochs: Annotated[int, Field(ge=1, le=100)] = 3
    max_steps: Annotated[int, Field(ge=0, description="0: no limit")] = 0
    max_minutes: Annotated[float, Field(ge=0, description="0: no limit; the schedule shrinks to fit")] = 8.0
    tokens_per_pack: Annotated[int, Field(ge=64, description="computed at once; halved when memory is short")] = 768
    packs_per_step: Annotated[int, Field(ge=1, le=1024)] = 1
    max_lesson_tokens: Annotated[int, Field(ge=16, description="longer lessons are left out and counted")] = 2048
    validate_every_epochs: Annotated[float, Field(gt=0, le=100)] = 0.5
    patience: Annotated[int, Field(ge=0, description="validations without a better loss; 0: no early stop")] = 3
    seed: Annotated[int, Field(ge=0)] = 0
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 60.0
    stall_minutes: Annotated[float, Field(gt=0, description="without progress, training is stopped")] = 15.0
    threads: Annotated[int, Field(ge=0, le=1024, description="of each process; 0: its share of the cores")] = 0
    processes: Annotated[int, Field(ge=1, le=64, description="more than 1: one per GPU, under accelerate")] = 1
    shard_model: Annotated[bool, Field(description="each process holds a part of the base model (FSDP)")] = False
    gpu_memory_share: Annotated[float, Field(gt=0, le=1, description="of each GPU, at most, also without vLLM")] = 0.35
    start: Annotated[Literal["base", "parent"], Field(description="of a cycle; parent: what serves")] = "base"

    @model_validator(mode="after")
    def _parts_are_for_several(self) -> "TrainConfig":
        if self.shard_model and self.processes == 1:
            raise ValueError("shard_model needs processes above 1, one for each part of the model")
        return self


class TrainResult(BaseModel):
    """A published adapter."""

    model_config = ConfigDict(frozen=True)

    folder: Path
    manifest: Manifest


def train(
    config: TrainConfig,
    dataset_folder: Path,
    model_folder: Path,
    output_folder: Path,
    *,
    name: str,
    parent: Path | None = None,
    tenants: Mapping[str, int] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainResult:
    """Train adapter ``name`` on ``dataset_folder`` (train.jsonl, valid.jsonl) and publish it as ``output_folder``.

    ``parent`` is the folder of an adapter to continue; None starts from the base model. ``tenants`` counts whose turns
    the dataset was made from, for the manifest. A run that was cut off
    continues from its last checkpoint, which lies beside ``output_folder`` as ``.NAME.work``; what was published from
    the same inputs is returned as it is. ``on_progress`` is called with each event of the worker. Raises TrainError;
    then nothing is published.
    """
    check_name(name)
    output_folder.parent.mkdir(parents=True, exist_ok=True)
    spec = _spec(config, dataset_folder, model_folder, output_folder, name, parent, tenants or {})
    published = _published(spec)
    if published is not None:
        return published
    with tempfile.TemporaryDirectory(prefix="apprentice-train-") as folder:
        path = Path(folder) / "spec.json"
        while True:
            path.write_text(json.dumps(spec), encoding="utf-8")
            kills = _kills_for_memory()
            try:
                manifest = _supervise(
                    path, config.processes, config.stall_minutes * 60, on_progress or (lambda _: None)
                )
            except TrainError as error:
                published = _published(spec)  # by a process that ended before it said so
                if published is not None:
                    return published
                short = error.kind == "memory" and not error.final
                short |= error.kind == "killed" and _kills_for_memory() > kills
                if not short or spec["halvings"] >= _MOST_HALVINGS:
                    raise
                spec["halvings"] += 1
            else:
                return TrainResult(folder=output_folder, manifest=manifest)


def _published(spec: dict[str, Any]) -> TrainResult | None:
    """The adapter that is there already. Raises TrainError if it is damaged or was made from other inputs."""
    folder, dataset = Path(spec["output_folder"]), Path(spec["dataset_folder"])
    if not folder.exists():
        return None
    try:
        manifest = verify(folder, base_sha256=model_sha256(Path(spec["model_folder"])))
    except AdapterInvalid as error:
        raise TrainError("model", f"{error}; an adapter is never replaced") from error
    made_from = {
        "dataset_sha256": folder_sha256(dataset),
        "template_sha256": spec["template_sha256"],
        "parent_sha256": spec["parent_sha256"],
        "hyper_parameters": spec["config"],
    }
    differ = [key for key, value in made_from.items() if getattr(manifest, key) != value]
    if differ:
        raise TrainError("model", f"{spec['name']} exists, of other {', '.join(differ)}; an adapter is never replaced")
    shutil.rmtree(spec["work_folder"], ignore_errors=True)
    return TrainResult(folder=folder, manifest=manifest)


def _kills_for_memory() -> int:
    """How often the kernel has killed a process for lack of memory."""
    try:
        counters = dict(line.split() for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines())
    except OSError:
        return 0
    return int(counters.get("oom_kill", 0))


def _spec(
    config: TrainConfig,
    dataset: Path,
    model: Path,
    output: Path,
    name: str,
    parent: Path | None,
    tenants: Mapping[str, int],
) -> dict[str, Any]:
    return {
        "config": config.model_dump(mode="json", exclude={"stall_minutes", "start"}),
        "dataset_folder": str(dataset.resolve()),
        "model_folder": str(model.resolve()),
        "model_id": model.resolve().name,
        "output_folder": str(output.resolve()),
        "work_folder": str(output.resolve().parent / f".{output.name}.work"),
        "name": name,
        "tenants": dict(tenants),
        "halvings": 0,
        "parent": str(parent.resolve()) if parent else None,
        "parent_sha256": manifest_sha256(parent) if parent else None,
        "template": str(TEMPLATE),
        "template_sha256": hashlib.sha256(TEMPLATE.read_bytes()).hexdigest(),
    }


def _launcher(processes: int) -> list[str]:
    """Accelerate's launcher, for several processes on this machine; each computes its share of every step."""
    if processes == 1:
        return []
    count = ["--num_processes", str(processes), "--num_machines", "1", "--main_process_port", "0"]
    plain = ["--multi_gpu", "--mixed_precision", "no", "--dynamo_backend", "no"]
    return ["accelerate.commands.launch", *plain, *count, "-m"]


def _threads(processes: int) -> dict[str, str]:
    """Threads of one process stay on cores of their own: a scheduler may leave two on one core for minutes, and each
    waits for the other at every product. A launcher gives each process one thread unless told otherwise."""
    if processes == 1:
        own = {"OMP_PROC_BIND": "spread", "OMP_PLACES": "cores"}
        return {name: value for name, value in own.items() if name not in os.environ}
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes))}


def _supervise(spec: Path, processes: int, stall_seconds: float, on_progress: Callable[[Progress], None]) -> Manifest:
    process = subprocess.Popen(
        [sys.executable, "-m", *_launcher(processes), "evolver.train_worker", str(spec)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
        env={**os.environ, **KEEP_MEMORY, **_threads(processes), "HF_HUB_OFFLINE": "1"},
    )
    assert process.stdin and process.stdout and process.stderr
    watchdog = _Watchdog(process, stall_seconds)
    last_words: deque[str] = deque(maxlen=_REASON_LINES)
    reader = threading.Thread(target=_collect, args=(process.stderr, last_words), daemon=True)
    reader.start()
    last: Progress = {}
    try:
        for line in process.stdout:
            if not line.startswith("{"):  # a launcher's own words
                last_words.append(line.rstrip())
                continue
            event: Progress = json.loads(line)
            last = last if last.get("event") == "failed" else event  # others may go on for a moment
            watchdog.pat()
            on_progress(event)
        code = process.wait()
    finally:
        watchdog.stop()
        process.kill()
        process.wait()
        process.stdin.close()  # ends each worker, also those that a launcher started in sessions of their own
        reader.join(timeout=5)
        process.stdout.close()
        process.stderr.close()
    if last.get("event") == "failed" or (last.get("event") == "done" and code == 0):
        return _outcome(last)
    if watchdog.fired:
        raise TrainError("stalled", f"no progress for {stall_seconds:.0f} s")
    if code == -9 or any("SIGKILL" in line for line in last_words):  # in the words of accelerate's launcher
        raise TrainError("killed", "the training process was killed; the next run continues from its checkpoint")
    raise TrainError("crashed", f"exit code {code}: {' | '.join(last_words)[-1500:]}")


def _outcome(last: Progress) -> Manifest:
    """What the worker's last event says. Raises TrainError if that is a failure."""
    if last["event"] == "failed":
        raise TrainError(last["kind"], last["reason"], final=last["final"])
    return Manifest.model_validate(last["manifest"])


def _collect(stream: IO[str], into: deque[str]) -> None:
    for line in stream:
        into.append(line.rstrip())


class _Watchdog:
    """Kills ``process`` when it was not patted for ``seconds``."""

    def __init__(self, process: subprocess.Popen[str], seconds: float) -> None:
        self._process, self._seconds = process, seconds
        self.fired = False
        self.pat()

    def pat(self) -> None:
        self.stop()
        self._timer = threading.Timer(self._seconds, self._fire)
        self._timer.daemon = True
        self._timer.start()

    def stop(self) -> None:
        if hasattr(self, "_timer"):
            self._timer.cancel()

    def _fire(self) -> None:
        self.fired = True
        self._process.kill()
        if self._process.stdin:
            self._process.stdin.close()


def progress_remark(step: dict[str, Any]) -> str:
    """A step's event in one line: the loss, the pace, the time that is left."""
    minutes, seconds = divmod(round(step["eta_seconds"]), 60)
    pace = f"{step['tokens_per_second']:.0f} tokens/s, {step['saved_ratio']:.1f}x by shared prefixes"
    return f"loss {step['loss']:.3f}, {pace}, {minutes}:{seconds:02d} left"
