"""A Ray cluster on this machine, started once for the tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.fakes.cluster_world import Machines, machines


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """A Ray cluster of one node and those that tests add; they begin by saying how many they want."""
    with machines(tmp_path_factory.mktemp("cluster")) as found:
        yield found
