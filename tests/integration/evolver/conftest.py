"""The world in which whole cycles run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.evolver_world import World, world


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with world(tmp_path, monkeypatch) as made:
        yield made
