"""How making and verifying grow with the nodes of a cluster, with a model that answers after a GPU's delay.

Run with ``make bench-cluster``. A Ray cluster is started on this machine, whose nodes share its cores; so the orders
must wait for the model most of the time, as they do beside a GPU. The model server is a process of its own, and is
asked without the gateway. The orders are those of the stages, the sandboxes real. Each run has as many orders per node.

Printed are orders per second on one node and on two, their ratio beside the goal, and from the driver's processor time
per order and the requests per order: with how many nodes the driver's core and a gateway's core are full. Exit code 1
where a ratio misses the goal.
"""

import argparse
import json
import multiprocessing
import os
import re
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

from agent.cluster.config import ClusterConfig
from evolver.config import MakeConfig
from evolver.crew.crew import Crew, results
from evolver.crew.opening import open_crew
from evolver.crew.setup import Setup
from evolver.crew.workshop import Rules
from evolver.generation.back_translation import Batch
from evolver.generation.make import MakeOrder, _Job
from evolver.types import Trace, TraceKind
from evolver.verification.check_traces import CheckTrace
from evolver.verification.verify import RoundTrip
from toolkit.config import SandboxConfig, ToolkitConfig, ToolsConfig

GOAL = 0.85
GATEWAY_SECONDS = 0.00085
"""Processor time of the gateway per request: docs/serving.md."""
_NODES = (8, 32, 128)
_TOOLS = 8
_TOKEN = "0123456789abcdef0123456789abcdef"
_SLOW = {"RAY_raylet_start_wait_time_s": "300", "RAY_agent_register_timeout_ms": "300000"}
_NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@dataclass(frozen=True)
class Run:
    """Orders of one stage that a crew did, in ``seconds``; ``driver_seconds`` is this process's processor time."""

    orders: int
    seconds: float
    driver_seconds: float
    requests: int

    @property
    def rate(self) -> float:
        return self.orders / self.seconds


class NothingHeldOut:
    """What lessons are compared with: nothing."""

    names = ()

    def __call__(self, request: str) -> bool:
        return False

    def tool(self, description: str) -> bool:
        return False


class Model(BaseHTTPRequestHandler):
    """Answers, after ``delay`` seconds, with arguments, a request that states them, or an answer."""

    delay = 0.0
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    numbers = count(11)

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        self._send({})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        time.sleep(self.delay)
        texts = [self._text(body, n) for n in range(body["n"])]
        logprobs = {"token_logprobs": [-0.5]}
        self._send({"choices": [{"text": text, "finish_reason": "stop", "logprobs": logprobs} for text in texts]})

    def _text(self, body: dict[str, Any], n: int) -> str:
        prompt, wanted = body["prompt"], body.get("structured_outputs") or {}
        asked = re.findall(r"sum (\d+) and (\d+)", prompt.rpartition("\n\n")[2])
        if "regex" in wanted or "json" in wanted:
            first, second = asked[-1] if body["temperature"] == 0 and asked else (next(self.numbers), 7)
            return json.dumps({"first": int(first), "second": int(second)})
        stated = re.findall(r'\{"first": (\d+), "second": (\d+)\}', prompt)
        if prompt.endswith("Assistant:") or not stated:
            return " There it is."
        return f" Please sum {stated[-1][0]} and {stated[-1][1]}{' now' * n}."

    def _send(self, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def _serve(delay: float, port: Any) -> None:
    Model.delay = delay
    server = _Server(("127.0.0.1", 0), Model)
    port.send(server.server_port)
    server.serve_forever()


@contextmanager
def model(delay: float) -> Iterator[str]:
    """Start the model server, and yield its URL."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(delay, there), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        process.terminate()
        process.join()


def _ports() -> dict[str, int]:
    """Free ports for the agents of a node: it waits but half a minute for those that choose their own."""
    names = ("metrics_agent_port", "metrics_export_port", "runtime_env_agent_port", "dashboard_agent_listen_port")
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("", 0))) for _ in names]
        return dict(zip(names, (one.getsockname()[1] for one in sockets), strict=True))


@contextmanager
def cluster(nodes: int) -> Iterator[str]:
    """Start a Ray cluster of so many nodes on this machine, and yield its address."""
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _TOKEN, "RAY_USAGE_STATS_ENABLED": "0", **_SLOW}
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={**_NODE, **_ports(), "include_dashboard": False})
    try:
        for _ in range(nodes - 1):
            found.add_node(**_NODE, **_ports())
        yield found.address
    finally:
        found.shutdown()


def write_tools(folder: Path) -> ToolkitConfig:
    """Write a module of tools and return the configuration that has them."""
    tool = (
        '@tool(effect="pure")\ndef sum_{0}(first: int, second: int) -> int:\n    """Sum two numbers of shelf {0}.\n\n'
    )
    tool += "    Args:\n        first: One number.\n        second: The other number.\n"
    tool += '    """\n    return first + second\n'
    parts = ["from toolkit.declare import tool\n", *(tool.format(n) for n in range(_TOOLS))]
    (folder / "shelves.py").write_text("\n\n".join(parts), encoding="utf-8")
    tools = ToolsConfig(builtin=False, modules=("shelves",), folder=folder)
    return ToolkitConfig(sandbox=SandboxConfig(workers=1), tools=tools)


def timed(orders: Sequence[Any], crew: Crew, requests: Callable[[], int]) -> tuple[Run, list[Any]]:
    """Have ``orders`` done; return how long that took, and their results."""
    asked, began, used = requests(), time.perf_counter(), time.process_time()
    found = results(crew, orders)
    run = Run(len(orders), time.perf_counter() - began, time.process_time() - used, requests() - asked)
    return run, found


def measure(url: str, config: ClusterConfig, toolkit: ToolkitConfig, orders: int, at_once: int) -> dict[str, Run]:
    """Return what making ``orders`` batches, and verifying what comes of them, takes on a cluster."""
    recorded: list[str] = []
    setup = Setup(toolkit, url, "", at_once, Rules(NothingHeldOut()))
    record = lambda route, body, answer: recorded.append(route)  # noqa: E731
    make = [
        MakeOrder(_Job(str(n), TraceKind.BACK_TRANSLATION, Batch(MakeConfig(), f"sum_{n % _TOOLS}", n)), 600.0)
        for n in range(orders)
    ]
    with open_crew(setup, config, record=record) as crew:
        making, made = timed(make, crew, lambda: len(recorded))
        traces: list[Trace] = [trace for some, _ in made for trace in some]
        verify = [order for trace in traces for order in (CheckTrace(trace), RoundTrip(trace))]
        verifying, verdicts = timed(verify, crew, lambda: len(recorded))
    fit = sum(reason is None for _, reason in verdicts[::2])
    print(f"  {len(traces)} traces, {fit} fit, {sum(verdicts[1::2])} round trips arrive", flush=True)
    if not fit or not any(verdicts[1::2]):
        raise SystemExit("the simulated model does not do its work: nothing that was made is fit")
    return {"make": making, "verify": verifying}


def told(stage: str, one: Run, two: Run) -> bool:
    """Print the ratio and what it means for more nodes; return whether the goal is met."""
    ratio = two.rate / one.rate
    print(
        f"{stage}: {one.rate:.2f} orders/s on one node, {two.rate:.2f} on two: {ratio:.2f} times; goal {GOAL * 2:.2f}"
    )
    driver, requests = one.driver_seconds / one.orders, one.requests / one.orders
    full = {
        "the driver": 1 / driver,
        "a gateway's core": 1 / (requests * GATEWAY_SECONDS) if requests else float("inf"),
    }
    print(f"  {driver * 1000:.1f} ms of the driver and {requests:.1f} requests per order")
    for nodes in _NODES:
        wanted = nodes * one.rate
        shares = ", ".join(f"{name} {wanted / rate:.0%} busy" for name, rate in full.items())
        print(f"  {nodes} nodes would do {min(wanted, *full.values()):.1f} orders/s: {shares}")
    first = min(full, key=lambda name: full[name])
    print(f"  {first} is full with {full[first] / one.rate:.0f} nodes")
    return ratio >= GOAL * 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay", type=float, default=0.8, help="seconds until the model answers")
    parser.add_argument("--at-once", type=int, default=8, help="orders under way on each node")
    parser.add_argument("--orders", type=int, default=32, help="batches made per node")
    chosen = parser.parse_args()
    runs: list[dict[str, Run]] = []
    with tempfile.TemporaryDirectory() as folder, model(chosen.delay) as url:
        toolkit = write_tools(Path(folder))
        with cluster(2) as address:
            for nodes in (1, 2):
                print(f"{nodes} of 2 nodes, {chosen.at_once} orders at once on each", flush=True)
                config = ClusterConfig(address=address, workshops=nodes)
                runs.append(measure(url, config, toolkit, nodes * chosen.orders, chosen.at_once))
    met = [told(stage, runs[0][stage], runs[1][stage]) for stage in runs[0]]
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
