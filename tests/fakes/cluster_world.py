"""The world of cycles, with real sandboxes, a model that says the same to the same request, and a Ray cluster."""

import hashlib
import inspect
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.cluster.config import ClusterConfig
from evolver.config import MakeConfig
from evolver.crew.workshop import Workshop
from evolver.store.jsonl import read_lines
from evolver.types import Trace
from tests.fakes.evolver_world import ITEMS, World, world
from tests.fakes.learner import Learner
from tests.fakes.model_server import Says
from tests.fakes.model_vllm import install
from tests.fakes.shop_tools import WORLD_TOOLS
from toolkit import execute
from toolkit.config import SandboxConfig, ToolkitConfig, ToolsConfig

_NODE = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 * 2**20}
ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "0123456789abcdef0123456789abcdef",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_kill_child_processes_on_worker_exit_with_raylet_subreaper": "true",
    "RAY_raylet_start_wait_time_s": "300",
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "12",
}
_real_executor = execute.open_executor


class Steady(Learner):
    """A model whose answer depends on nothing but the request. ``on_asked`` is called before each completion;
    ``on_chat``, which may wait, with the model and the text of each request that shows tools."""

    def __init__(self) -> None:
        super().__init__(ITEMS)
        self.on_asked: Callable[[], None] = lambda: None
        self.on_chat: Callable[[str, str], None] = lambda model, text: None

    def __call__(self, request: dict[str, Any]) -> Says:
        if request.get("tools"):
            self.on_chat(request["model"], request["messages"][0]["content"])
        return super().__call__(request)

    def _complete(self, request: dict[str, Any]) -> Says:
        self.on_asked()
        text = json.dumps(request, sort_keys=True).encode()
        self._number = int.from_bytes(hashlib.sha256(text).digest()[:3])
        return super()._complete(request)


def _started(start: Callable[[], Any]) -> Any:
    """Start something of Ray, several times if need be: a raylet gives up where its agents take half a minute to be
    imported, and finds them in the page cache the next time."""
    for _ in range(4):
        with suppress(Exception):
            return start()
    return start()


class Machines:
    """The nodes of a Ray cluster, all on this machine, with ``environment``, which no other process has."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        from ray.cluster_utils import Cluster

        self._environment = environment
        with self._own_environment():
            self._cluster = _started(lambda: Cluster(initialize_head=True, head_node_args=_NODE))
        self._others: list[Any] = []

    @property
    def address(self) -> str:
        return self._cluster.address

    def alive(self, count: int) -> "Machines":
        """Return these, so many of them alive."""
        while len(self._others) < count - 1:
            self.join()
        while len(self._others) > count - 1:
            self._cluster.remove_node(self._others.pop(), allow_graceful=True)
        return self

    def join(self) -> None:
        node = {name: value for name, value in _NODE.items() if name != "include_dashboard"}
        with self._own_environment():
            self._others.append(_started(lambda: self._cluster.add_node(**node)))

    def kill_one(self) -> None:
        """Kill the node that joined last, as by a loss of power."""
        self._cluster.remove_node(self._others.pop(), allow_graceful=False)

    def close(self) -> None:
        self._cluster.shutdown()

    @contextmanager
    def _own_environment(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self._environment.items():
                patch.setenv(name, value)
            yield


@contextmanager
def machines(folder: Path) -> Iterator[Machines]:
    """Start a cluster of one node, whose vLLM takes no minute to start; ``folder`` is for what its nodes keep."""
    kept = {"PYTHONPATH": install(folder / "fake")["PYTHONPATH"], "XDG_CACHE_HOME": str(folder / "cache")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        found = Machines(kept)
        try:
            yield found
        finally:
            found.close()


@dataclass(frozen=True)
class WhichNode:
    """Tells on which node it is done."""

    def do(self, workshop: Workshop) -> str:
        import ray

        return ray.get_runtime_context().get_node_id()


@dataclass(frozen=True)
class ExitStatus:
    """Tells how a process ends that fails."""

    def do(self, workshop: Workshop) -> int:
        return subprocess.run(["false"], check=False).returncode


@dataclass(frozen=True)
class FailsOn(WhichNode):
    """Raises on one node, and tells the node on any other."""

    broken: str

    def do(self, workshop: Workshop) -> str:
        if (here := super().do(workshop)) == self.broken:
            raise OSError("the disk of this node is full")
        return here


@dataclass(frozen=True)
class Fatal:
    """Ends the process that does it."""

    def do(self, workshop: Workshop) -> None:
        os._exit(1)


@contextmanager
def cluster_world(folder: Path, address: str = "", host: str = "127.0.0.1") -> Iterator[World]:
    """A world whose tools are a user's module, run in real sandboxes, on the cluster at ``address``.

    Its gateway listens at ``host``.
    """
    folder.mkdir(exist_ok=True)
    head = "from toolkit.tool import tool\n\n\n"
    (folder / "shop.py").write_text(head + "\n\n".join(map(inspect.getsource, WORLD_TOOLS)))
    with pytest.MonkeyPatch.context() as patch, world(folder, patch, host=host) as here:
        patch.setattr(execute, "open_executor", _real_executor)
        learner = Steady()
        learner.loaded = here.learner.loaded
        here.learner = learner
        here.server._script = learner
        make = MakeConfig(calls_per_tool=8, requests_per_call=2, no_tool_requests=8, concurrency=2)
        here.config = here.config.model_copy(
            update={
                "toolkit": ToolkitConfig(
                    sandbox=SandboxConfig(workers=1),
                    tools=ToolsConfig(builtin=False, modules=("shop",), folder=folder),
                ),
                "evolver": here.config.evolver.model_copy(update={"make": make}),
                "cluster": ClusterConfig(address=address),
            }
        )
        yield here


def lessons(here: World, name: str) -> list[str]:
    """The traces of the first cycle in the file ``name``, without what says when they were made; sorted."""
    traces = read_lines(here.data / "cycles" / "0001" / name, Trace)
    assert len({trace.id for trace in traces}) == len(traces), "one was stored twice"
    return sorted(trace.model_dump_json(exclude={"id", "provenance"}) for trace in traces)
