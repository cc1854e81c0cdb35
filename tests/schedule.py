"""How ``make test`` shares the tests out among its processes.

A file's tests run in one process and in their order, for they may share what is costly to make. So do those of a folder
that shares a server.
"""

from pathlib import PurePosixPath

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling
from xdist.workermanage import WorkerController

VLLM = "tests/integration/real_vllm"
CLUSTER = "tests/integration/ray_cluster"


def unit_of(nodeid: str) -> str:
    """Return the file of a test or, where its folder shares a server, the folder."""
    file = nodeid.split("::", maxsplit=1)[0]
    folder = str(PurePosixPath(file).parent)
    return folder if folder in (VLLM, CLUSTER) else file


def put_vllm_first(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: unit_of(item.nodeid) != VLLM)


class ByUnit(LoadScopeScheduling):
    """Gives each process one unit after the other. vLLM's comes first and runs alone: its threads wait for each other
    at every layer, and beside other work each waits for the processor too."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        if not any(self._runs_vllm(other) for other in self.nodes if other is not node):
            super()._assign_work_unit(node)

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        before = self._runs_vllm(node)
        super().mark_test_complete(node, item_index, duration)
        if before and not self._runs_vllm(node):
            for waiting in self.nodes:
                self._reschedule(waiting)

    def _runs_vllm(self, node: WorkerController) -> bool:
        return not all(self.assigned_work[node].get(VLLM, {}).values())
