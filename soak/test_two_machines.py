"""A cycle on two machines: network namespaces with a cable between them, and a Ray cluster that asks for its token."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.serving import serving_state
from evolver.crew.opening import open_crew
from evolver.crew.setup import Setup
from tests.fakes.cluster_world import ENVIRONMENT, WhichNode, cluster_world, lessons
from tests.fakes.evolver_world import World
from tests.fakes.whole_cycle import PROMOTED, end

FILES = ("traces.jsonl", "kept.jsonl")
HEAD, OTHER = "apprentice-head", "apprentice-other"
HOSTS = {HEAD: "10.213.77.1", OTHER: "10.213.77.2"}
ADDRESS = f"{HOSTS[HEAD]}:6379"
NODE = ("--num-cpus", "1", "--object-store-memory", str(80 * 2**20), "--disable-usage-stats", "--block")
pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("ip") is None, reason="network namespaces need root and iproute2"
    ),
]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def namespaces() -> Iterator[None]:
    """Two machines with a cable; leaving ends all that runs in them."""
    try:
        for name in HOSTS:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", "cable", "netns", HEAD, "type", "veth", "peer", "name", "cable", "netns", OTHER)
        for name, host in HOSTS.items():
            ip("-n", name, "address", "add", f"{host}/24", "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")
        yield
    finally:
        for name in HOSTS:
            running = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
            for pid in running.stdout.split():
                subprocess.run(["kill", "-9", pid], check=False)
            subprocess.run(["ip", "netns", "delete", name], check=False)


def inside(name: str, command: list[str], log: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Start a program on one of the machines, with a folder of its own for what Ray keeps."""
    ray = log.parent / f"ray-{name}"
    ray.mkdir(exist_ok=True)
    Path("/tmp/ray").mkdir(exist_ok=True)
    mounted = ["sh", "-c", 'mount --bind "$0" /tmp/ray && exec "$@"', str(ray), *command]
    with log.open("ab") as file:
        return subprocess.Popen(
            ["ip", "netns", "exec", name, *mounted],
            env={**os.environ, **ENVIRONMENT, **environment},
            stdout=file,
            stderr=file,
        )


def ray(*words: str) -> list[str]:
    return [str(Path(sys.executable).with_name("ray")), *words]


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Path]:
    """The cluster, up; its value is a folder for the logs."""
    first = ("--head", "--node-ip-address", HOSTS[HEAD], "--port", "6379", "--include-dashboard=false")
    second = ("--address", ADDRESS, "--node-ip-address", HOSTS[OTHER])
    started: list[subprocess.Popen[bytes]] = []
    try:
        with namespaces():
            for count, (name, words) in enumerate(((HEAD, first), (OTHER, second)), 1):
                started.append(inside(name, ray("start", *words, *NODE), tmp_path / f"{name}.log"))
                wait_for_nodes(tmp_path, count)
            yield tmp_path
    finally:
        for process in started:
            process.wait()


def wait_for_nodes(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 300
    command = [sys.executable, "-c", _ALIVE, ADDRESS, str(count)]
    while inside(HEAD, command, folder / "nodes.log").wait() != 0:
        assert time.monotonic() < deadline, (folder / "nodes.log").read_text()[-2000:]
        time.sleep(1)


_ALIVE = """
import sys, ray
ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
sys.exit(sum(node["Alive"] for node in ray.nodes()) != int(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The lessons of a cycle without a cluster."""
    with cluster_world(tmp_path_factory.mktemp("alone")) as here:
        here.run()
        assert end(here) == PROMOTED
        return {name: lessons(here, name) for name in FILES}


@pytest.mark.parametrize("cut", ["", "make", "verify"])
def test_a_cycle_on_two_machines_learns_what_one_on_one_machine_learns(
    machines: Path, alone: dict[str, list[str]], cut: str
) -> None:
    """Also where the cable is pulled while the other machine has orders of a stage."""
    found = machines / "found.json"
    driver = inside(
        HEAD,
        [sys.executable, "-m", "soak.test_two_machines", str(machines / "world"), str(found), cut],
        machines / "driver.log",
    )
    assert driver.wait() == 0, (machines / "driver.log").read_text()[-4000:]
    assert json.loads(found.read_text()) == alone
    lost = "lost its workshop; others do its orders again"
    assert (lost in (machines / "driver.log").read_text()) == bool(cut)


@pytest.mark.usefixtures("machines")
def test_a_wrong_token_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _ALIVE, ADDRESS, "2"]
    assert inside(HEAD, command, tmp_path / "refused.log", RAY_AUTH_TOKEN="f" * 32).wait() != 0
    assert "token" in (tmp_path / "refused.log").read_text().lower()


def drive(folder: Path, found: Path, cut: str) -> None:
    """On the first machine: run a cycle on both, and write what was learned to ``found``."""
    with cluster_world(folder, ADDRESS, HOSTS[HEAD]) as here:
        wait_for_orders_on_both(here)
        pulled: list[str] = []

        def on_progress(stage: str, share: float, _: str) -> None:
            if stage == cut and 0.0 < share < 1.0 and not pulled:
                pulled.append(stage)
                ip("-n", OTHER, "link", "set", "cable", "down")

        report = here.run(on_progress)
        assert end(here) == PROMOTED, report.cycle.reason
        found.write_text(json.dumps({name: lessons(here, name) for name in FILES}))


def wait_for_orders_on_both(here: World) -> None:
    """Return once both machines have done an order."""
    serving = serving_state.running(here.data)
    nodes: set[str] = set()

    def orders() -> Iterator[WhichNode]:
        while len(nodes) < len(HOSTS):
            yield WhichNode()

    setup = Setup(here.config.toolkit, serving.gateway_url, serving.gateway_key, 2)
    with open_crew(setup, here.config.cluster) as crew:
        for _, node in crew.each(orders()):
            nodes.add(node)


if __name__ == "__main__":
    drive(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
