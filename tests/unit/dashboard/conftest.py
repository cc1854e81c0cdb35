from pathlib import Path

import pytest

from tests.fakes.dashboard_world import Visitor, old_folder


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder of two cycles; base served first, adapter-0001 serves."""
    monkeypatch.chdir(tmp_path)  # its markers name relative paths
    return old_folder(tmp_path)


@pytest.fixture
def visitor(data: Path) -> Visitor:
    """On a loopback host without keys: may do everything."""
    return Visitor(data)
