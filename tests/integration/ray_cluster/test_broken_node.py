"""A node of a Ray cluster on which every order raises: the others do its orders, and it is left out."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.cluster.config import ClusterConfig
from agent.serving import serving_state
from evolver.crew.crew import results
from evolver.crew.opening import open_crew
from evolver.crew.setup import Setup
from tests.fakes.cluster_world import FailsOn, Machines, WhichNode, cluster_world
from toolkit.config import SandboxConfig, ToolkitConfig, ToolsConfig

pytestmark = pytest.mark.timeout(1800)


LEFT_OUT = "is not used any more, others do its orders again"


def until_left_out(broken: str, said: list[str]) -> Iterator[FailsOn]:
    while not any(LEFT_OUT in line for line in said):
        yield FailsOn(broken)


def test_a_broken_node_ends_no_stage_and_is_left_out(cluster: Machines, tmp_path: Path) -> None:
    said: list[str] = []
    with cluster_world(tmp_path) as here:
        serving = serving_state.running(here.data)
        toolkit = ToolkitConfig(sandbox=SandboxConfig(workers=1), tools=ToolsConfig(builtin=False))
        setup = Setup(toolkit, serving.gateway_url, serving.gateway_key, 1)
        config = ClusterConfig(address=cluster.alive(2).address)
        with open_crew(setup, config, say=said.append) as crew:
            nodes = set(results(crew, [WhichNode()] * 8))
            assert len(nodes) == 2
            broken, well = sorted(nodes)
            assert {node for _, node in crew.each(until_left_out(broken, said))} == {well}
            with pytest.raises(OSError, match=r"node [\d.]+: the disk of this node is full"):
                results(crew, [FailsOn(well)] * 2)
    assert ["another node does the order again" in line for line in said] == [True, True, False]
    assert said[-1].endswith(f"{LEFT_OUT}: the disk of this node is full")
