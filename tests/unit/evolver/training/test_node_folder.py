"""The files of a training on a node: gone with the training."""

import hashlib
import os
from pathlib import Path

import pytest

from evolver.training.node_folder import WORK, NodeFolder, aside


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files lie."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_folder_that_arrived_is_moved_to_its_place(temporary: Path) -> None:
    (temporary / "arrived").mkdir()
    (temporary / "arrived" / "state.json").write_bytes(b"state")
    folder = NodeFolder()
    folder.take(temporary / "arrived", f"{WORK}/step-00000003")
    assert (folder.path(WORK) / "step-00000003" / "state.json").read_bytes() == b"state"
    assert not (temporary / "arrived").exists()
    folder.close()


def test_a_checkpoint_that_was_set_aside_can_be_read_after_the_worker_dropped_it() -> None:
    folder = NodeFolder()
    step = folder.path(WORK) / "step-00000003"
    step.mkdir(parents=True)
    (step / "state.json").write_bytes(b"state")
    assert folder.set_aside(3)
    (step / "state.json").unlink()
    step.rmdir()
    assert folder.listed(aside(3)).files == (("state.json", 5, sha256(b"state")),)
    assert folder.read(aside(3), "state.json", 0) == b"state"
    assert folder.read(aside(3), "state.json", 5) == b""
    assert not folder.set_aside(4)
    folder.close()


def test_what_a_killed_process_left_is_removed_and_what_another_uses_stays(temporary: Path) -> None:
    killed, other = NodeFolder(), NodeFolder()
    os.close(killed._lock)
    last = NodeFolder()
    assert set(temporary.iterdir()) == {other.path(""), last.path("")}
    other.close()
    last.close()
    assert list(temporary.iterdir()) == []
