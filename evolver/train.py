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
from collections.abc import Callable
from pathlib import Path
from typing import IO, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from agent.prompt import TEMPLATE
from evolver.adapter_files import Manifest, check_name, manifest_sha256
from evolver.errors import TrainError
from toolkit.config import Section

Progress = dict[str, Any]
_REASON_LINES = 12
_MOST_HALVINGS = 4
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "17179869184"}
"""glibc keeps freed memory for the next step: returned, every step pays its page faults again."""


class TrainConfig(Section):
    """``[evolver.train]``."""

    rank: Annotated[Literal[8, 16, 32, 64, 128], Field(description="at most [agent.serving] max_lora_rank")] = 16
    alpha: Annotated[int, Field(ge=1, le=1024)] = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    learning_rate: Annotated[float, Field(gt=0, le=0.1)] = 8e-4
    warmup_share: Annotated[float, Field(ge=0, le=0.5, description="of all steps")] = 0.06
    decay: Literal["linear", "cosine"] = "linear"
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    epochs: Annotated[int, Field(ge=1, le=100)] = 3
    max_steps: Annotated[int, Field(ge=0, description="0: no limit")] = 0
    max_minutes: Annotated[float, Field(ge=0, description="0: no limit; the schedule shrinks to fit")] = 6.0
    tokens_per_pack: Annotated[int, Field(ge=64, description="computed at once; halved when memory is short")] = 1024
    packs_per_step: Annotated[int, Field(ge=1, le=1024)] = 1
    max_lesson_tokens: Annotated[int, Field(ge=16, description="longer lessons are left out and counted")] = 2048
    seed: Annotated[int, Field(ge=0)] = 0
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 60.0
    stall_minutes: Annotated[float, Field(gt=0, description="without progress, training is stopped")] = 15.0
    threads: Annotated[int, Field(ge=0, le=1024, description="0: one per core")] = 0


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
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainResult:
    """Train adapter ``name`` on ``dataset_folder`` (train.jsonl, valid.jsonl) and publish it as ``output_folder``.

    ``parent`` is the folder of an adapter to continue; None starts from the base model. A run that was cut off
    continues from its last checkpoint, which lies beside ``output_folder`` as ``.NAME.work``. ``on_progress`` is called
    with each event of the worker. Raises TrainError; then nothing is published.
    """
    check_name(name)
    output_folder.parent.mkdir(parents=True, exist_ok=True)
    spec = _spec(config, dataset_folder, model_folder, output_folder, name, parent)
    with tempfile.TemporaryDirectory(prefix="apprentice-train-") as folder:
        path = Path(folder) / "spec.json"
        while True:
            path.write_text(json.dumps(spec), encoding="utf-8")
            kills = _kills_for_memory()
            try:
                manifest = _supervise(path, config.stall_minutes * 60, on_progress or (lambda _: None))
            except TrainError as error:
                if error.kind != "killed" or _kills_for_memory() == kills or spec["halvings"] >= _MOST_HALVINGS:
                    raise
                spec["halvings"] += 1
            else:
                return TrainResult(folder=output_folder, manifest=manifest)


def _kills_for_memory() -> int:
    """How often the kernel has killed a process for lack of memory."""
    try:
        counters = dict(line.split() for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines())
    except OSError:
        return 0
    return int(counters.get("oom_kill", 0))


def _spec(
    config: TrainConfig, dataset: Path, model: Path, output: Path, name: str, parent: Path | None
) -> dict[str, Any]:
    return {
        "config": config.model_dump(mode="json", exclude={"stall_minutes"}),
        "dataset_folder": str(dataset.resolve()),
        "model_folder": str(model.resolve()),
        "model_id": model.resolve().name,
        "output_folder": str(output.resolve()),
        "work_folder": str(output.resolve().parent / f".{output.name}.work"),
        "name": name,
        "halvings": 0,
        "parent": str(parent.resolve()) if parent else None,
        "parent_sha256": manifest_sha256(parent) if parent else None,
        "template": str(TEMPLATE),
        "template_sha256": hashlib.sha256(TEMPLATE.read_bytes()).hexdigest(),
    }


def _supervise(spec: Path, stall_seconds: float, on_progress: Callable[[Progress], None]) -> Manifest:
    process = subprocess.Popen(
        [sys.executable, "-m", "evolver.train_worker", str(spec)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
        env={**os.environ, **_KEEP_MEMORY, "HF_HUB_OFFLINE": "1"},
    )
    assert process.stdin and process.stdout and process.stderr
    watchdog = _Watchdog(process, stall_seconds)
    last_words: deque[str] = deque(maxlen=_REASON_LINES)
    reader = threading.Thread(target=_collect, args=(process.stderr, last_words), daemon=True)
    reader.start()
    last: Progress = {}
    try:
        for line in process.stdout:
            last = json.loads(line)
            watchdog.pat()
            on_progress(last)
        code = process.wait()
    finally:
        watchdog.stop()
        process.kill()
        process.wait()
        process.stdin.close()
        reader.join(timeout=5)
        process.stdout.close()
        process.stderr.close()
    if last.get("event") == "done" and code == 0:
        return Manifest.model_validate(last["manifest"])
    if last.get("event") == "failed":
        raise TrainError(last["kind"], last["reason"])
    if watchdog.fired:
        raise TrainError("stalled", f"no progress for {stall_seconds:.0f} s")
    if code == -9:
        raise TrainError("killed", "the training process was killed; the next run continues from its checkpoint")
    raise TrainError("crashed", f"exit code {code}: {' | '.join(last_words)[-1500:]}")


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


def discard_work(output_folder: Path) -> None:
    """Forget the checkpoints of a run that will not be continued."""
    shutil.rmtree(output_folder.resolve().parent / f".{output_folder.name}.work", ignore_errors=True)
