"""Dataset folder -> adapter folder: supervises the training process (evolver.training.worker). Imports no torch."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from agent.adapters.manifest import Manifest
from agent.adapters.package import check_adapter, check_name, manifest_sha256, model_sha256
from agent.errors import AdapterInvalid
from agent.models.detect import profile_of
from agent.models.profile import ModelProfile
from agent.models.template_markers import NO_MARKERS, Markers
from evolver.config import TrainConfig
from evolver.errors import TrainError
from evolver.store.dataset_files import folder_sha256
from toolkit.frozen import Frozen

Progress = dict[str, Any]
_REASON_LINES = 12
_MOST_HALVINGS = 4
"""Number of restarts, with smaller packs, of a process that ran out of memory and ended."""
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "17179869184"}
"""glibc keeps freed memory for the next step: returned, every step pays its page faults again."""


class TrainResult(Frozen):
    """A published adapter."""

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
    tenant: str = "",
    tenants: Mapping[str, int] | None = None,
    markers: Markers = NO_MARKERS,
    profile: ModelProfile | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainResult:
    """Train adapter ``name`` on ``dataset_folder`` (train.jsonl, valid.jsonl) and publish it as ``output_folder``.

    ``parent`` is the folder of an adapter to continue; None starts from the base model. For the manifest: ``tenant`` is
    whom the adapter is for ("": everybody), ``tenants`` counts whose turns the dataset was made from. ``markers`` are
    those that serving keeps requests free of. ``profile``: how the model is spoken to; None: as its folder says.
    ``on_progress`` is called with each event of the worker.

    A run that was cut off continues from its last checkpoint, which lies beside ``output_folder`` as ``.NAME.work``.
    An adapter that was published from the same inputs is returned as it is. Raises TrainError; then nothing is
    published.
    """
    check_name(name)
    output_folder.parent.mkdir(parents=True, exist_ok=True)
    whose = {"tenant": tenant, "tenants": dict(tenants or {})}
    spec = _spec(config, dataset_folder, model_folder, output_folder, name, parent, whose, markers, profile)
    published = _published(spec)
    return published or _train(spec, config, on_progress or (lambda _: None))


def _train(spec: dict[str, Any], config: TrainConfig, on_progress: Callable[[Progress], None]) -> TrainResult:
    """Run the worker on ``spec``, and again with smaller packs each time that it ends for lack of memory."""
    with tempfile.TemporaryDirectory(prefix="apprentice-train-") as folder:
        path = Path(folder) / "spec.json"
        while True:
            path.write_text(json.dumps(spec), encoding="utf-8")
            kills = _kills_for_memory()
            try:
                manifest = _supervise(path, config.processes, config.stall_minutes * 60, on_progress)
                return TrainResult(folder=Path(spec["output_folder"]), manifest=manifest)
            except TrainError as error:
                published = _published(spec)  # by a process that ended before it said so
                if published is not None:
                    return published
                short = error.kind == "memory" and not error.final
                short |= error.kind == "killed" and _kills_for_memory() > kills
                if not short or spec["halvings"] >= _MOST_HALVINGS:
                    raise
                spec["halvings"] += 1


def _published(spec: dict[str, Any]) -> TrainResult | None:
    """The adapter that is there already. Raises TrainError if it is damaged or was made from other inputs."""
    folder, dataset = Path(spec["output_folder"]), Path(spec["dataset_folder"])
    if not folder.exists():
        return None
    try:
        manifest = check_adapter(folder, base_sha256=model_sha256(Path(spec["model_folder"])))
    except AdapterInvalid as error:
        raise TrainError("model", f"{error.problem}; an adapter is never replaced") from error
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
    """Return the number of processes that the kernel killed for lack of memory."""
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
    whose: dict[str, Any],
    markers: Markers = NO_MARKERS,
    profile: ModelProfile | None = None,
) -> dict[str, Any]:
    profile = profile or profile_of(model)
    return {
        "config": config.model_dump(mode="json", exclude={"stall_minutes", "start"}),
        "dataset_folder": str(dataset.resolve()),
        "model_folder": str(model.resolve()),
        "model_id": model.resolve().name,
        "output_folder": str(output.resolve()),
        "work_folder": str(output.resolve().parent / f".{output.name}.work"),
        "name": name,
        **whose,
        "markers": sorted(markers.texts),
        "halvings": 0,
        "parent": str(parent.resolve()) if parent else None,
        "parent_sha256": manifest_sha256(parent) if parent else None,
        "profile": profile.model_dump(mode="json"),
        "template_sha256": profile.template_sha256,
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
    """Run the worker to its end. Raises TrainError where it failed, stalled, or was killed."""
    process = _start(spec, processes)
    assert process.stdin and process.stdout and process.stderr
    watchdog = _Watchdog(process, stall_seconds)
    last_words: deque[str] = deque(maxlen=_REASON_LINES)
    reader = threading.Thread(target=_collect, args=(process.stderr, last_words), daemon=True)
    reader.start()
    last: Progress = {}
    try:
        for event in _events(process.stdout, last_words):
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


def _start(spec: Path, processes: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *_launcher(processes), "evolver.training.worker", str(spec)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
        env={**os.environ, **KEEP_MEMORY, **_threads(processes), "HF_HUB_OFFLINE": "1"},
    )


def _events(stream: IO[str], last_words: deque[str]) -> Iterator[Progress]:
    """Yield the worker's events; a launcher's own lines are added to ``last_words``."""
    for line in stream:
        if line.startswith("{"):
            yield json.loads(line)
        else:
            last_words.append(line.rstrip())


def _outcome(last: Progress) -> Manifest:
    """Return the worker's last event. Raises TrainError if that is a failure."""
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


def tell_progress(say: Callable[[float, str], None], event: Progress) -> None:
    """Tell ``say`` the share of training that is done, and a remark: the loss, the pace, the time that is left; at the
    beginning the reason why no prefixes are shared, where none are."""
    if event["event"] == "loaded":
        say(0.0, event["unshared"] or "")
    elif event["event"] == "step":
        minutes, seconds = divmod(round(event["eta_seconds"]), 60)
        pace = f"{event['tokens_per_second']:.0f} tokens/s, {event['saved_ratio']:.1f}x by shared prefixes"
        say(event["step"] / event["steps"], f"loss {event['loss']:.3f}, {pace}, {minutes}:{seconds:02d} left")
