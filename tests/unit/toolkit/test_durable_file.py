"""What is put in its place is on disk before its name, and its name before the call returns."""

import os
from pathlib import Path

import pytest

from toolkit import durable_file


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every fsync, rename and unlink from now on, by name; what is random is a star."""
    seen: list[str] = []
    fsync, rename, replace, unlink = os.fsync, os.rename, os.replace, os.unlink

    def name(path: object) -> str:
        text = str(Path(str(path)).relative_to(tmp_path))
        return ".a.*" if text.startswith(".a.") else text

    def noted_fsync(descriptor: int) -> None:
        seen.append(f"fsync {name(Path(f'/proc/self/fd/{descriptor}').readlink())}")
        fsync(descriptor)

    def noted_rename(source: object, target: object) -> None:
        seen.append(f"rename {name(source)} to {name(target)}")
        (rename if Path(str(source)).is_dir() else replace)(source, target)  # type: ignore[arg-type]

    def noted_unlink(path: object) -> None:
        seen.append(f"unlink {name(path)}")
        unlink(path)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "rename", noted_rename)
    monkeypatch.setattr(os, "replace", noted_rename)
    monkeypatch.setattr(os, "unlink", noted_unlink)
    return seen


def test_a_file(tmp_path: Path, steps: list[str]) -> None:
    durable_file.replace(tmp_path / "a", b"1")
    assert steps == ["fsync .a.*", "rename .a.* to a", "fsync ."]
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "a").stat().st_mode & 0o777) == (b"1", 0o600)


def test_a_folder_with_all_that_is_in_it(tmp_path: Path, steps: list[str]) -> None:
    draft = tmp_path / "draft"
    (draft / "deeper").mkdir(parents=True)
    for file in ("one", "two", "deeper/three"):
        (draft / file).write_text(file)
    durable_file.publish_folder(draft, tmp_path / "there")
    inside = ["draft/deeper/three", "draft/deeper", "draft/one", "draft/two", "draft"]
    assert steps == [*(f"fsync {path}" for path in inside), "rename draft to there", "fsync ."]


@pytest.mark.parametrize("instead", [False, True])
def test_a_folder_takes_the_place_of_another_only_where_that_is_meant(tmp_path: Path, instead: bool) -> None:
    for name in ("draft", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    if instead:
        durable_file.publish_folder(tmp_path / "draft", tmp_path / "there", instead=True)
    else:
        with pytest.raises(OSError, match="not empty"):
            durable_file.publish_folder(tmp_path / "draft", tmp_path / "there")
    assert (tmp_path / "there" / "file").read_text() == ("draft" if instead else "there")


def test_a_file_that_is_removed_is_gone_from_the_disk(tmp_path: Path, steps: list[str]) -> None:
    (tmp_path / "a").write_text("1")
    durable_file.remove(tmp_path / "a")
    durable_file.remove(tmp_path / "a")
    assert steps == ["unlink a", "fsync .", "unlink a"]


def test_drafts_that_a_crash_left_are_removed_and_nothing_else(tmp_path: Path) -> None:
    deeper = tmp_path / "0001" / ".dataset.draft"
    deeper.mkdir(parents=True)
    kept = [deeper / "train.jsonl", tmp_path / "0001" / "gate.json", tmp_path / ".hidden"]
    for file in (*kept, tmp_path / "0001" / ".gate.json.x1_y2z3a", deeper / ".train.jsonl.abcdefgh"):
        file.write_text("text")
    durable_file.remove_drafts(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
