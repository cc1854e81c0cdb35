"""The real vLLM on the real default model, started once per session, and adapters for it.

What takes long to make is kept in a cache folder outside the project, and made again when it is not there.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.config import VllmConfig
from agent.models import default_model
from agent.serving.socket_folder import VLLM, socket_folder
from agent.serving.vllm.process import VllmServer
from tests.fakes.cluster_world import Machines, machines

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "apprentice-tests"


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """The prepared default model."""
    if importlib.util.find_spec("vllm") is None:
        pytest.fail("vLLM is not installed; run: make -B setup")
    return default_model.prepare(CACHE)


@pytest.fixture(scope="session")
def vllm(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    """The running server, two adapter slots. A test that loads adapters unloads them."""
    folder = tmp_path_factory.mktemp("vllm")
    config = VllmConfig(max_loras=2, max_cpu_loras=8)
    with (
        socket_folder(folder) as sockets,
        VllmServer.start(config, model_folder, folder / "vllm.log", sockets / VLLM) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """A Ray cluster of one node and those that tests add; they begin by saying how many they want."""
    with machines(tmp_path_factory.mktemp("cluster")) as found:
        yield found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what ends the session's vLLM behind all that uses it: a server of its own would take a minute to start. Tests
    on the cluster come last: it takes processor time as long as it is there."""
    items.sort(key=lambda item: item.get_closest_marker("ends_vllm") is not None)
    items.sort(key=lambda item: "cluster" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def random_adapters(model_folder: Path) -> Path:
    """A folder with adapters a, b and c (rank 16, every linear layer, random, strong) and forward.json: PEFT's own
    log-probabilities, ``{"texts": {text: [token ids]}, "logprobs": {dtype: {adapter or base: {text: [float]}}}}``."""
    folder = CACHE / "random-adapters-2"
    if not (folder / "forward.json").exists():
        script = Path(__file__).parent / "vllm" / "random_adapters.py"
        subprocess.run([sys.executable, str(script), str(model_folder), str(folder)], check=True)
    return folder
