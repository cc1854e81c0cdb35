"""Dataset folder -> adapter folder: supervises the training processes (evolver.training.worker). Imports no torch."""

import shutil
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from agent.adapters.manifest import Manifest
from agent.adapters.package import check_adapter, check_name, manifest_sha256, model_sha256
from agent.cluster.config import ClusterConfig
from agent.errors import AdapterInvalid
from agent.models.detect import profile_of
from agent.models.profile import ModelProfile
from agent.models.template_markers import NO_MARKERS, Markers
from evolver.config import TrainConfig
from evolver.errors import TrainError
from evolver.store.dataset_files import folder_sha256
from evolver.training.launcher import KilledForMemory, Launcher, NodeLost, Progress
from evolver.training.local_launcher import LocalLauncher
from toolkit.frozen import Frozen

_MOST_HALVINGS = 4
"""Number of restarts, with smaller packs, of a process that ran out of memory and ended."""
_MOST_LOSSES = 3
"""Number of nodes that may be lost between two checkpoints."""


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
    cluster: ClusterConfig | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainResult:
    """Train adapter ``name`` on ``dataset_folder`` (train.jsonl, valid.jsonl) and publish it as ``output_folder``.

    ``parent`` is the folder of an adapter to continue; None starts from the base model. The manifest records
    ``tenant``, for whom the adapter is ("": everybody), and ``tenants``, the numbers of their turns in the dataset.
    ``markers`` are removed from lessons, as serving removes them from requests. ``profile`` is the model's; None: found
    in its folder. ``cluster`` has the nodes to train on; None: this machine. ``on_progress`` is called with each event
    of the worker, and with ``lost`` when a node was lost and training goes on with others.

    A run that was cut off continues from its last checkpoint, in ``.NAME.work`` beside ``output_folder``. An adapter
    that was published from the same inputs is returned. Raises TrainError, and UserError if the cluster cannot be used;
    nothing is published then.
    """
    check_name(name)
    output_folder.parent.mkdir(parents=True, exist_ok=True)
    whose = {"tenant": tenant, "tenants": dict(tenants or {})}
    cluster = cluster or ClusterConfig()
    together = config.model_copy(update={"processes": config.processes * max(1, cluster.training_nodes)})
    spec = _spec(together, dataset_folder, model_folder, output_folder, name, parent, whose, markers, profile)
    return _published(spec) or _train(
        spec, _launcher(config, cluster), config.stall_minutes * 60, on_progress or (lambda _: None)
    )


def _launcher(config: TrainConfig, cluster: ClusterConfig) -> Launcher:
    if not cluster.training_nodes:
        return LocalLauncher(config.processes)
    from evolver.training.ray_launcher import RayLauncher

    return RayLauncher(cluster, config.processes)


def _train(
    spec: dict[str, Any], launcher: Launcher, stall_seconds: float, on_progress: Callable[[Progress], None]
) -> TrainResult:
    """Run the worker on ``spec``. Run it again with smaller packs each time that it ends for lack of memory, and on
    other nodes when one is lost."""
    losses = 0

    def heard(event: Progress) -> None:
        nonlocal losses
        losses = 0 if event["event"] == "checkpoint" else losses
        on_progress(event)

    while True:
        try:
            manifest = _supervise(launcher, spec, stall_seconds, heard)
            return TrainResult(folder=Path(spec["output_folder"]), manifest=manifest)
        except TrainError as error:
            published = _published(spec)  # by a process that ended before it said so
            if published is not None:
                return published
            if isinstance(error, NodeLost) and losses < _MOST_LOSSES:
                losses += 1
                on_progress({"event": "lost", "reason": error.reason})
                continue
            short = isinstance(error, KilledForMemory) or (error.kind == "memory" and not error.final)
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


def _supervise(
    launcher: Launcher, spec: dict[str, Any], stall_seconds: float, on_progress: Callable[[Progress], None]
) -> Manifest:
    """Run a training to its end. Raises TrainError if it fails, stalls or is killed."""
    last: Progress = {}
    with launcher.start(spec) as running, closing(_Watchdog(running.stop, stall_seconds)) as watchdog:
        for event in running.events():
            last = last if last.get("event") == "failed" else event  # others may go on for a moment
            watchdog.pat()
            on_progress(event)
        end = running.end()
    if last.get("event") == "failed" or (last.get("event") == "done" and end.code == 0):
        return _outcome(last)
    if watchdog.fired:
        raise TrainError("stalled", f"no progress for {stall_seconds:.0f} s")
    if end.killed:
        reason = "the training process was killed; the next run continues from its checkpoint"
        raise KilledForMemory(reason) if end.short_of_memory else TrainError("killed", reason)
    raise TrainError("crashed", f"exit code {end.code}: {end.words[-1500:]}")


def _outcome(last: Progress) -> Manifest:
    """Return the worker's last event. Raises TrainError if that is a failure."""
    if last["event"] == "failed":
        raise TrainError(last["kind"], last["reason"], final=last["final"])
    return Manifest.model_validate(last["manifest"])


class _Watchdog:
    """Calls ``stop`` when it was not patted for ``seconds``."""

    def __init__(self, stop: Callable[[], None], seconds: float) -> None:
        self._stop, self._seconds = stop, seconds
        self.fired = False
        self._timer = self._started()

    def pat(self) -> None:
        self._timer.cancel()
        self._timer = self._started()

    def close(self) -> None:
        self._timer.cancel()

    def _started(self) -> threading.Timer:
        timer = threading.Timer(self._seconds, self._fire)
        timer.daemon = True
        timer.start()
        return timer

    def _fire(self) -> None:
        self.fired = True
        self._stop()


def tell_progress(say: Callable[[float, str], None], event: Progress) -> None:
    """Call ``say`` with the share of training that is done, from 0 to 1, and a remark.

    A step's remark is loss, pace and time left. At the beginning it is the reason why no prefixes are shared, if none
    are; after a loss, the lost node.
    """
    if event["event"] == "loaded":
        say(0.0, event["unshared"] or "")
    elif event["event"] == "lost":
        say(0.0, f"{event['reason']}; training goes on from its checkpoint")
    elif event["event"] == "step":
        minutes, seconds = divmod(round(event["eta_seconds"]), 60)
        pace = f"{event['tokens_per_second']:.0f} tokens/s, {event['saved_ratio']:.1f}x by shared prefixes"
        say(event["step"] / event["steps"], f"loss {event['loss']:.3f}, {pace}, {minutes}:{seconds:02d} left")
