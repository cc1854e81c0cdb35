"""The real default model, prepared once and kept in a cache folder outside the project."""

import importlib.util
from pathlib import Path

import pytest

from agent.models import default_model
from tests.fakes.cache import CACHE


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """The prepared default model."""
    if importlib.util.find_spec("vllm") is None:
        pytest.fail("vLLM is not installed; run: make -B setup")
    return default_model.prepare(CACHE)
