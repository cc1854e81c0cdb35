"""The pointer file."""

import os
from pathlib import Path

import pytest

from agent.adapters import active
from agent.adapters.active import ActiveAdapter
from agent.errors import AdapterError


def test_base_serves_until_something_is_promoted(tmp_path: Path) -> None:
    assert active.read(tmp_path) == ActiveAdapter(name="base", sha256="")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    for name in ("adapter-0001", "adapter-0002"):
        active.write(tmp_path / "new", ActiveAdapter(name=name, sha256="a" * 64))
        assert active.read(tmp_path / "new").name == name
    assert os.listdir(tmp_path / "new") == ["active_adapter.json"]  # noqa: PTH208


@pytest.mark.parametrize(
    "content", ["", "{", '{"name": "../etc"}', '{"name": "a", "sha256": "x"}', '{"nam": "a"}', "[]"]
)
def test_a_damaged_pointer_names_the_fix(tmp_path: Path, content: str) -> None:
    (tmp_path / "active_adapter.json").write_text(content)
    with pytest.raises(AdapterError, match="is damaged; write it anew with: evolver rollback base"):
        active.read(tmp_path)


def test_file_is_on_disk_before_its_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        steps.append("fsync " + ("folder" if Path(f"/proc/self/fd/{descriptor}").resolve() == tmp_path else "file"))
        real_fsync(descriptor)

    def replace(source: Path, target: Path) -> Path:
        steps.append("rename")
        return real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    active.write(tmp_path, ActiveAdapter(name="adapter-0001", sha256="a" * 64))
    assert steps == ["fsync file", "rename", "fsync folder"]


def test_a_failed_write_leaves_the_old_pointer_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    active.write(tmp_path, ActiveAdapter(name="adapter-0001", sha256="a" * 64))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        active.write(tmp_path, ActiveAdapter(name="adapter-0002", sha256="a" * 64))
    assert active.read(tmp_path).name == "adapter-0001"
    assert len(list(tmp_path.iterdir())) == 1
