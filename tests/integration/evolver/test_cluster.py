"""Cycles whose jobs are done on two nodes of a Ray cluster: the same lessons, whatever dies meanwhile."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.cluster_world import Machines, cluster_world, lessons, machines
from tests.fakes.whole_cycle import PROMOTED, end

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Machines]:
    with machines() as found:
        yield found


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The lessons of a cycle on this machine alone."""
    with cluster_world(tmp_path_factory.mktemp("alone") / "world") as here:
        report = here.run()
        assert end(here) == PROMOTED, report.cycle.reason
        return {name: lessons(here, name) for name in ("traces.jsonl", "kept.jsonl")}


def test_a_cycle_on_two_nodes_learns_what_one_on_this_machine_learns(
    cluster: Machines, alone: dict[str, list[str]], tmp_path: Path
) -> None:
    with cluster_world(tmp_path / "world", cluster.alive(2).address) as here:
        report = here.run()
        assert end(here) == PROMOTED, report.cycle.reason
        assert {name: lessons(here, name) for name in alone} == alone
