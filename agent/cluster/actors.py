"""Processes that Ray starts on the nodes of a cluster: Ray's actors. Their classes have a method ``close``."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any


def usable_nodes() -> list[dict[str, Any]]:
    """Return the nodes that are alive and have a CPU, as Ray describes them. Raises RayError."""
    import ray

    return [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]


def start_actor(kind: type, *, threads: int, node: str = "", **options: Any) -> Any:
    """Start an actor of the class ``kind`` and return its handle; it may not run yet.

    ``threads`` is the number of its calls that run at a time. ``node`` is the id of its node; "" leaves the choice to
    Ray and its ``options``.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    if node:
        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=False)
    options = {"num_cpus": 0, "max_concurrency": threads, "enable_task_events": False, **options}
    return ray.remote(kind).options(**options).remote()


def close_actors(actors: Sequence[Any], seconds: float) -> None:
    """Close ``actors``, wait at most ``seconds`` for them, and kill them."""
    import ray

    closing = [actor.close.remote() for actor in actors]
    if closing:
        ray.wait(closing, num_returns=len(closing), timeout=seconds)
    for actor in actors:
        kill_actor(actor)


def kill_actor(actor: Any) -> None:
    """Kill ``actor``; it may be gone already."""
    import ray

    with suppress(Exception):
        ray.kill(actor)


def unusable(address: str, problem: str) -> str:
    """Return the error message about a node that must not be used."""
    return f"node {address} of the cluster cannot be used: {problem}"


def without_nodes(cluster: str) -> str:
    """Return the error message about the cluster at the address ``cluster``, in which no node can be used."""
    return f"the Ray cluster at {cluster} has no node with a CPU; start one with: ray start --address=HOST:PORT"
