"""A data folder to import into."""

from pathlib import Path

import pytest

from agent.config import Config


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(data_folder=tmp_path / "data")
