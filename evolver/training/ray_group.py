"""The nodes of a Ray cluster that train together, and the files that travel between them and the driver."""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.cluster.actors import close_actors, start_actor, unusable, usable_nodes
from agent.cluster.config import ClusterConfig
from agent.cluster.connection import lines_of
from agent.cluster.folders import Listing, bring, listed
from agent.cluster.installation import installed
from evolver.crew.ray_nodes import TooFewNodes
from evolver.errors import TrainError
from evolver.training.launcher import KilledForMemory, NodeLost
from evolver.training.node_processes import NodeProcesses, Opened, trainer_libraries
from toolkit.errors import UserError

_PLACING_SECONDS = 60.0
_OPENING_SECONDS = 300.0
_CLOSING_SECONDS = 10.0
_THREADS = 4
"""Calls at a time in the process on a node."""


@dataclass(frozen=True)
class Member:
    """NodeProcesses, an actor, on a node."""

    node: str
    address: str
    actor: Any


class Group:
    """One member on each of ``config.training_nodes`` nodes.

    ``models``: the folder of the base model on each. ``cores``: the least number of cores of any of them.
    """

    def __init__(self, config: ClusterConfig, processes: int) -> None:
        self._config, self._processes = config, processes
        self._placement: Any = None
        self.members: list[Member] = []
        self.models: list[Path] = []
        self.cores = 1

    def open(self, model: Path, files: Listing) -> None:
        """Find the nodes, and bring the base model in the folder ``model``, with these ``files``, to each.

        Raises TooFewNodes, NodeLost if a node has just died, and UserError if one must not be used or is busy.
        """
        self._hire()
        self.cores = min(node.cores for node in self._opened())
        self.models = _brought(self.members, model, files, keep=True)

    def close(self) -> None:
        """End the members and what they started."""
        from ray.util import remove_placement_group

        close_actors([member.actor for member in self.members], _CLOSING_SECONDS)
        if self._placement is not None:
            with suppress(Exception):
                remove_placement_group(self._placement)

    def _hire(self) -> None:
        """Start a member on each of the nodes that Ray chooses."""
        import ray
        from ray.util import placement_group, placement_group_table
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        bundle, limit = self._bundle(), time.monotonic() + _PLACING_SECONDS
        self._placement = placement_group([bundle] * self._config.training_nodes, strategy="STRICT_SPREAD")
        while not self._placement.wait(1):
            self._bundle()
            if time.monotonic() > limit:
                wanted = " and ".join(f"{count:.0f} {name}" for name, count in bundle.items())
                raise UserError(
                    f"{self._config.training_nodes} nodes of the Ray cluster do not have {wanted} free for training; "
                    "let what uses them end, or lower [cluster] training_nodes"
                )
        addresses = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes()}
        for index, node in sorted(placement_group_table(self._placement)["bundles_to_node_id"].items()):
            place = PlacementGroupSchedulingStrategy(self._placement, placement_group_bundle_index=index)
            options = {"num_cpus": 1, "num_gpus": bundle.get("GPU", 0), "scheduling_strategy": place}
            self.members.append(Member(node, addresses[node], start_actor(NodeProcesses, threads=_THREADS, **options)))

    def _bundle(self) -> dict[str, float]:
        """Return the resources that a node needs: GPUs too, if the cluster has any. Raises TooFewNodes."""
        nodes, having, bundle = usable_nodes(), "with a CPU", {"CPU": 1.0}
        if any(node["Resources"].get("GPU") for node in nodes):
            nodes = [node for node in nodes if node["Resources"].get("GPU", 0) >= self._processes]
            having, bundle = f"with a CPU and {self._processes} GPUs", {"CPU": 1.0, "GPU": float(self._processes)}
        if len(nodes) < self._config.training_nodes:
            raise TooFewNodes(self._config, len(nodes), having)
        return bundle

    def _opened(self) -> list[Opened]:
        import ray

        libraries = trainer_libraries()
        references = [member.actor.open.remote(installed(), libraries) for member in self.members]
        limit = time.monotonic() + _OPENING_SECONDS
        while len(ray.wait(references, num_returns=len(references), timeout=1.0)[0]) < len(references):
            alive = {node["NodeID"] for node in usable_nodes()}
            for member in self.members:
                if member.node not in alive:  # Ray may not have known that yet when it chose it
                    raise NodeLost(f"node {member.address} of the cluster was lost")
            if time.monotonic() > limit:
                raise UserError(f"a node of the cluster gives no answer within {_OPENING_SECONDS:.0f} seconds")
        opened: list[Opened] = list(map(answer, self.members, references))
        for member, node in zip(self.members, opened, strict=True):
            if node.problem:
                raise UserError(unusable(member.address, node.problem))
        return opened


def ask(members: Sequence[Member], method: str, *arguments: Any) -> list[Any]:
    """Call a method of NodeProcesses on all ``members`` at once, and return the results. Raises as ``answer`` does."""
    references = [getattr(member.actor, method).remote(*arguments) for member in members]
    return list(map(answer, members, references))


def answer(member: Member, reference: Any, seconds: float | None = None) -> Any:
    """Return the result of a call; wait at most ``seconds``. Raises NodeLost, KilledForMemory if Ray killed the member
    for lack of memory, and TrainError if the call raised."""
    import ray

    with _reaching(member):
        return ray.get(reference, timeout=seconds)


@contextmanager
def _reaching(member: Member) -> Iterator[None]:
    """Raise errors of Ray in the block as ``answer`` does, with the address of ``member``."""
    from ray.exceptions import RayError, RayTaskError

    try:
        yield
    except RayTaskError as error:
        kind = "disk" if isinstance(error.cause, OSError) else "crashed"
        raise TrainError(kind, f"node {member.address}: {lines_of(error.cause)[0]}") from None
    except RayError as error:
        if "low on memory" in str(error):
            raise KilledForMemory(f"Ray ended the training on node {member.address} for lack of memory") from None
        raise NodeLost(f"node {member.address} of the cluster was lost ({lines_of(error)[0]})") from None


def send(members: Sequence[Member], source: Path, folder: str, names: Collection[str] | None = None) -> None:
    """Send the files of ``source``, or those with ``names``, into a ``folder`` of all ``members`` at once."""
    there = _brought(members, source, listed(source, names), keep=False, same_path=False)
    for member, path in zip(members, there, strict=True):
        ask([member], "take", path, folder)


def _brought(members: Sequence[Member], folder: Path, files: Listing, **how: bool) -> list[Path]:
    """See ``bring``."""
    actors = [member.actor for member in members]
    return bring(actors, folder, files, **how, answer=lambda number, *reference: answer(members[number], *reference))


def fetch(member: Member, folder: str, target: Path) -> None:
    """Write the files in a ``folder`` of ``member`` into ``target``. Raises OSError."""
    files: Listing = ask([member], "listed", folder)[0]
    target.mkdir(parents=True)
    for name, *_ in files.files:
        with (target / name).open("wb") as file:
            while piece := ask([member], "read", folder, name, file.tell())[0]:
                file.write(piece)
    if listed(target) != files:
        raise OSError(f"{folder} of node {member.address} was damaged on its way")
