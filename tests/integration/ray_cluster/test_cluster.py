"""Cycles whose jobs are done on two nodes of a Ray cluster: the same lessons, whatever dies meanwhile."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from threading import Event

import pytest

from agent.cluster.config import ClusterConfig
from agent.cluster.installation import installed
from agent.serving import serving_state
from evolver.crew import ray_crew, ray_nodes
from evolver.crew.crew import results
from evolver.crew.opening import open_crew
from evolver.crew.setup import Setup
from evolver.errors import StageError
from tests.fakes.cluster_world import ExitStatus, Fatal, Machines, Steady, WhichNode, cluster_world, lessons
from tests.fakes.evolver_world import World
from tests.fakes.whole_cycle import PROMOTED, end
from toolkit.config import SandboxConfig, ToolkitConfig, ToolsConfig
from toolkit.errors import UserError

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.timeout(1800)
Lessons = dict[str, list[str]]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Lessons:
    """The lessons of a cycle on this machine alone."""
    with cluster_world(tmp_path_factory.mktemp("alone")) as here:
        report = here.run()
        assert end(here) == PROMOTED, report.cycle.reason
        return {name: lessons(here, name) for name in ("traces.jsonl", "kept.jsonl")}


def on_asked(here: World, number: int, act: object) -> None:
    """Call ``act`` when the model is asked for its completion of that number."""
    assert isinstance(here.learner, Steady)
    assert callable(act)
    asked = count(1)
    here.learner.on_asked = lambda: act() if next(asked) == number else None


def test_a_cycle_on_two_nodes_learns_what_one_on_this_machine_learns(
    cluster: Machines, alone: Lessons, tmp_path: Path
) -> None:
    with cluster_world(tmp_path, cluster.alive(2).address) as here:
        report = here.run()
        assert end(here) == PROMOTED, report.cycle.reason
        assert {name: lessons(here, name) for name in alone} == alone


@pytest.mark.parametrize("stage", ["make", "verify", "evaluate"])
def test_a_node_that_dies_loses_and_doubles_nothing(
    cluster: Machines, alone: Lessons, tmp_path: Path, capfd: pytest.CaptureFixture[str], stage: str
) -> None:
    """It is killed while it has orders of ``stage``. In evaluation, which is quick, one item is answered before."""
    with cluster_world(tmp_path, cluster.alive(2).address) as here:
        killed: list[str] = []
        answered: list[str] = []
        dead = Event()

        def on_progress(said: str, share: float, _: str) -> None:
            if said == stage and 0.0 < share < 1.0 and not killed:
                killed.append(stage)
                cluster.kill_one()
                dead.set()

        def on_chat(model: str, text: str) -> None:
            if stage == "evaluate" and model == "adapter-0001":
                answered.append(text)
                if text != answered[0]:
                    dead.wait(60)

        assert isinstance(here.learner, Steady)
        here.learner.on_chat = on_chat

        report = here.run(on_progress)
        assert killed == [stage]
        assert end(here) == PROMOTED, report.cycle.reason
        assert {name: lessons(here, name) for name in alone} == alone
    assert "lost its workshop; others do its orders again" in capfd.readouterr().err


def test_a_driver_that_is_killed_goes_on_where_it_was(cluster: Machines, alone: Lessons, tmp_path: Path) -> None:
    with cluster_world(tmp_path, cluster.alive(2).address) as here:
        config = tmp_path / "config.json"
        config.write_text(here.config.model_dump_json())
        command = [sys.executable, "-m", "tests.fakes.cluster_driver", str(config), str(tmp_path / "suites")]
        with subprocess.Popen(command, cwd=ROOT) as driver:
            on_asked(here, 12, lambda: os.kill(driver.pid, signal.SIGKILL))
        assert driver.returncode == -signal.SIGKILL
        report = here.run()
        assert end(here) == PROMOTED, report.cycle.reason
        assert {name: lessons(here, name) for name in alone} == alone


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Setup]:
    """A workshop with hardly any tool."""
    with cluster_world(tmp_path) as here:
        (tmp_path / "one.py").write_text(
            "from toolkit.tool import tool\n\n\n@tool()\ndef one() -> int:\n    return 1\n"
        )
        tools = ToolsConfig(builtin=False, modules=("one",), folder=tmp_path)
        serving = serving_state.running(here.data)
        toolkit = ToolkitConfig(sandbox=SandboxConfig(workers=1), tools=tools)
        yield Setup(toolkit, serving.gateway_url, serving.gateway_key, 2)


def test_a_node_that_joins_gets_orders(cluster: Machines, setup: Setup) -> None:
    nodes: set[str] = set()

    def orders() -> Iterator[WhichNode]:
        while len(nodes) < 2:
            yield WhichNode()

    with open_crew(setup, ClusterConfig(address=cluster.alive(1).address)) as crew:
        for number, node in crew.each(orders()):
            nodes.add(node)
            if number == 0:
                cluster.join()


def test_an_order_that_kills_three_workshops_is_not_given_again(cluster: Machines, setup: Setup) -> None:
    config = ClusterConfig(address=cluster.alive(2).address)
    with open_crew(setup, config) as crew, pytest.raises(StageError, match="3 workshops died over one order"):
        results(crew, [Fatal()])


def test_a_process_that_fails_is_not_taken_for_one_that_succeeds(cluster: Machines, setup: Setup) -> None:
    """Neither on a node nor here, although Ray's core ignores SIGCHLD in both."""
    with open_crew(setup, ClusterConfig(address=cluster.alive(1).address)) as crew:
        assert results(crew, [ExitStatus()]) == [1]
        assert subprocess.run(["false"], check=False).returncode == 1


def test_a_node_with_another_installation_or_other_tools_is_named_with_the_difference(
    cluster: Machines, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ClusterConfig(address=cluster.alive(1).address)
    with monkeypatch.context() as patch:
        patch.setattr(ray_nodes, "installed", lambda: replace(installed(), code="0" * 64))
        refused = r"node .* cannot be used: it has another version of apprentice \(code \w+ instead of 00000000\)"
        with pytest.raises(UserError, match=refused), open_crew(setup, config):
            pass
    with monkeypatch.context() as patch:
        patch.setattr(ray_crew, "tool_hashes", lambda registry, config: {"two": "0"})
        refused = r"node .* cannot be used: it has other tools: module one, one, two; give it"
        with pytest.raises(UserError, match=refused), open_crew(setup, config):
            pass


def test_a_gateway_that_the_nodes_do_not_reach_is_named(cluster: Machines, setup: Setup) -> None:
    config = ClusterConfig(address=cluster.alive(1).address, gateway="http://127.0.0.1:1")
    with (
        pytest.raises(UserError, match=r"it does not reach the gateway at http://127.0.0.1:1 \(.*\); let the gateway"),
        open_crew(setup, config),
    ):
        pass
