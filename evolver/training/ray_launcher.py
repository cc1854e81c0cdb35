"""Launcher of training processes on nodes of a Ray cluster.

The driver collects the events and keeps every checkpoint, so that a lost node loses nothing else.
"""

import math
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.adapters.package import check_adapter
from agent.cluster.config import ClusterConfig
from agent.cluster.connection import connected
from agent.cluster.folders import listed
from agent.errors import AdapterInvalid
from evolver.crew.ray_nodes import TooFewNodes
from evolver.errors import TrainError
from evolver.store.dataset_files import file_names
from evolver.training.launcher import End, NodeLost, Progress, Running
from evolver.training.node_folder import DATASET, OUTPUT, PARENT, WORK, aside
from evolver.training.node_processes import Rank
from evolver.training.ray_group import Group, Member, answer, ask, fetch, send
from toolkit import durable_file
from toolkit.errors import UserError

_PATIENCE_SECONDS = 60.0
"""Time for other nodes to come after one was lost."""
_DYING_SECONDS = 120.0
"""Time in which Ray surely notices that a node has died."""
_WAIT_SECONDS = 0.5
_GRACE_SECONDS = 5.0
"""Time in which the others end by themselves, and say why, after one has."""
_SILENCE_SECONDS = 30.0
"""Time without an answer, after a process ended badly, after which a node counts as lost."""


@dataclass
class RayLauncher:
    """Starts ``processes`` on each of the nodes that ``cluster`` asks for.

    ``start`` raises as ``connected`` and Group.open do.
    """

    cluster: ClusterConfig
    processes: int
    _patience: float = field(default=0.0, init=False)

    @contextmanager
    def start(self, spec: dict[str, Any]) -> Iterator[Running]:
        """See Launcher."""
        with connected(self.cluster.address):
            try:
                with closing(self._opened(spec)) as group:
                    running = _NodesProcesses(group, spec)
                    running.start(self.processes)
                    yield running
            except NodeLost:
                self._patience = _PATIENCE_SECONDS
                raise

    def _opened(self, spec: dict[str, Any]) -> Group:
        """Return an open group. Ask Ray again if it chose a node that has just died."""
        model, began = Path(spec["model_folder"]), time.monotonic()
        files = listed(model)
        while True:
            group = Group(self.cluster, self.processes)
            try:
                group.open(model, files)
            except BaseException as error:
                group.close()
                if not self._may_change(error, time.monotonic() - began):
                    raise
            else:
                return group
            time.sleep(_WAIT_SECONDS)

    def _may_change(self, error: BaseException, seconds: float) -> bool:
        """Return whether to ask Ray again. Raises UserError if Ray calls a lost node alive for too long."""
        if isinstance(error, NodeLost) and seconds > _DYING_SECONDS:
            raise UserError(f"{error.reason}; mend that node, or lower [cluster] training_nodes") from error
        return isinstance(error, NodeLost) or (isinstance(error, TooFewNodes) and seconds < self._patience)


class _NodesProcesses:
    """The processes on all nodes of ``group``; the leading one is on the first."""

    def __init__(self, group: Group, spec: dict[str, Any]) -> None:
        self._group, self._spec = group, spec
        self._stopped = threading.Event()
        self._running: dict[Member, int] = {}
        self._ends: list[tuple[Member, End]] = []
        self._bad_since = math.inf

    def start(self, processes: int) -> None:
        """Send dataset, parent and checkpoints, and start ``processes`` on each node."""
        members, spec = self._group.members, self._spec
        dataset = Path(spec["dataset_folder"])
        send(members, dataset, DATASET, file_names(dataset))
        if spec["parent"]:
            send(members, Path(spec["parent"]), f"{PARENT}/{Path(spec['parent']).name}")
        for checkpoint in sorted(Path(spec["work_folder"]).glob("step-*")):
            send(members, checkpoint, f"{WORK}/{checkpoint.name}")
        leader = members[0].address
        (port,) = ask(members[:1], "free_port", leader)
        for number, member in enumerate(members):
            everybody = processes * len(members)
            rank = Rank(number * processes, processes, everybody, leader, port, self._group.cores)
            ask([member], "start", spec, self._group.models[number], rank, member.address)
            self._running[member] = processes

    def events(self) -> Iterator[Progress]:
        """See Running."""
        import ray

        asked = {member.actor.next.remote(): member for member in self._running}
        while asked and not self._stopped.is_set() and time.monotonic() < self._bad_since + _SILENCE_SECONDS:
            for reference in ray.wait(list(asked), timeout=_WAIT_SECONDS)[0]:
                member = asked.pop(reference)
                batch = answer(member, reference)
                for event in batch.events:
                    self._keep(event)
                    yield event
                self._note(member, batch.ends)
                if self._running[member] and time.monotonic() < self._bad_since + _GRACE_SECONDS:
                    asked[member.actor.next.remote()] = member
        if asked and not self._stopped.is_set():
            raise NodeLost(f"node {next(iter(asked.values())).address} of the cluster gives no answer")

    def stop(self) -> None:
        """See Running."""
        self._stopped.set()

    def end(self) -> End:
        """See Running."""
        bad = [(member, end) for member, end in self._ends if end.code]
        if not bad:
            return End(0 if self._ends and not self._stopped.is_set() else -9, killed=self._stopped.is_set())
        member, first = bad[0]
        return End(
            first.code,
            f"node {member.address}: {first.words}",
            any(end.killed for _, end in bad),
            any(end.short_of_memory for _, end in bad),
        )

    def _note(self, member: Member, ends: list[End]) -> None:
        self._ends += [(member, end) for end in ends]
        self._running[member] -= len(ends)
        if any(end.code for end in ends):
            self._bad_since = min(self._bad_since, time.monotonic())

    def _keep(self, event: Progress) -> None:
        """Copy the checkpoint or adapter of ``event`` to this machine. Raises TrainError if it cannot be written."""
        try:
            if event["event"] == "checkpoint":
                self._keep_checkpoint(event["step"])
            elif event["event"] == "done":
                self._keep_adapter()
        except AdapterInvalid as error:
            raise TrainError("model", f"the adapter arrived damaged: {error}") from error
        except OSError as error:
            raise TrainError("disk", f"cannot write the {event['event']}: {error}") from error

    def _keep_checkpoint(self, step: int) -> None:
        """Write a checkpoint in place of older ones, as evolver.training.checkpoint does."""
        work, leader = Path(self._spec["work_folder"]), self._group.members[0]
        target = work / Path(aside(step)).name
        self._publish(aside(step), work / f".draft-{step:08d}", target)
        ask([leader], "remove", aside(step))
        for old in work.iterdir():
            if old != target:
                shutil.rmtree(old, ignore_errors=True)

    def _keep_adapter(self) -> None:
        output = Path(self._spec["output_folder"])
        self._publish(OUTPUT, output.parent / f".{output.name}.draft", output)
        shutil.rmtree(self._spec["work_folder"], ignore_errors=True)

    def _publish(self, folder: str, draft: Path, target: Path) -> None:
        shutil.rmtree(draft, ignore_errors=True)
        try:
            fetch(self._group.members[0], folder, draft)
            if folder == OUTPUT:
                check_adapter(draft)
            durable_file.publish_folder(draft, target, instead=folder != OUTPUT)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
