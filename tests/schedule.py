"""How ``make test`` shares the tests out among its processes.

A file's tests run in one process and in their order, for they may share what is costly to make. So do those of a folder
that shares a server.
"""

from pathlib import PurePosixPath

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

VLLM = "tests/integration/real_vllm"
CLUSTER = "tests/integration/ray_cluster"


def unit_of(nodeid: str) -> str:
    """Return the file of a test or, where its folder shares a server, the folder."""
    file = nodeid.split("::", maxsplit=1)[0]
    folder = str(PurePosixPath(file).parent)
    return folder if folder in (VLLM, CLUSTER) else file


def put_longest_first(items: list[pytest.Item]) -> None:
    """Begin with the longest unit, so that no process has it left when the others are done."""
    items.sort(key=lambda item: unit_of(item.nodeid) != VLLM)


class ByUnit(LoadScopeScheduling):
    """Gives each process one unit after the other."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)
