"""The real vLLM on the real default model, started once for the tests of this folder, and adapters for it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.config import VllmConfig
from agent.serving.socket_folder import VLLM, socket_folder
from agent.serving.vllm.process import VllmServer
from tests.fakes.cache import CACHE


@pytest.fixture(scope="package")
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
def random_adapters(model_folder: Path) -> Path:
    """A folder with adapters a, b and c (rank 16, every linear layer, random, strong) and forward.json: PEFT's own
    log-probabilities, ``{"texts": {text: [token ids]}, "logprobs": {dtype: {adapter or base: {text: [float]}}}}``."""
    folder = CACHE / "random-adapters-2"
    if not (folder / "forward.json").exists():
        script = Path(__file__).parent / "random_adapters.py"
        subprocess.run([sys.executable, str(script), str(model_folder), str(folder)], check=True)
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what ends the folder's vLLM behind all that uses it: a server of its own would take a minute to start."""
    items.sort(key=lambda item: item.get_closest_marker("ends_vllm") is not None)
