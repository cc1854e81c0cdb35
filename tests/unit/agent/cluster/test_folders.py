"""Folders that a node must have, without a cluster: calls arrive at once, references are what they lead to."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.cluster import folders
from agent.cluster.folders import FolderReceiver, bring, kept_folders, listed
from toolkit.errors import UserError


class Calls:
    """An actor of a FolderReceiver, and the names of what was called."""

    def __init__(self, receiver: FolderReceiver) -> None:
        self.receiver, self.called = receiver, []

    def __getattr__(self, name: str) -> Any:
        def remote(*arguments: Any, **named: Any) -> Any:
            self.called.append(name)
            return getattr(self.receiver, name)(*arguments, **named)

        return SimpleNamespace(remote=remote)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    ray = SimpleNamespace(get=lambda found, timeout=0: found, put=lambda part: part)
    monkeypatch.setitem(sys.modules, "ray", ray)  # type: ignore[arg-type]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(folders, "_PART_BYTES", 4)
    receiver = FolderReceiver()
    yield Calls(receiver)
    receiver.forget_folders()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "inner").mkdir(parents=True)
    (folder / "weights").write_bytes(b"0123456789")
    (folder / "empty").touch()
    (folder / "inner" / "part").write_text("part")
    (folder / ".cache").write_text("hidden")
    return folder


def test_a_folder_at_the_same_path_is_used_where_its_files_are_the_same(node: Calls, model: Path) -> None:
    assert bring([node], model, listed(model), keep=True) == [model]
    assert node.called == ["find_folder"]


def test_one_that_is_not_there_is_sent_once_and_kept_by_its_hash(node: Calls, model: Path) -> None:
    listing = listed(model)
    assert listing.size == 14
    (kept,) = bring([node], model, listing, keep=True, same_path=False)
    assert kept == kept_folders() / listing.sha256
    assert listed(kept) == listing
    assert not (kept / ".cache").exists()
    assert node.called.count("write_part") == 5
    another = FolderReceiver()
    assert another.find_folder(listing, None, keep=True) == kept
    another.forget_folders()
    (kept / "weights").write_bytes(b"0123456780")  # damaged on that disk: sent anew
    assert bring([node], model, listing, keep=True, same_path=False) == [kept]
    assert listed(kept) == listing
    assert [path.name for path in kept_folders().iterdir()] == [listing.sha256]


@pytest.mark.parametrize("change", ["more", "less", "other"])
def test_a_folder_with_other_files_at_that_path_is_not_used(node: Calls, model: Path, change: str) -> None:
    listing = listed(model)
    if change == "more":
        (model / "second.safetensors").touch()
    elif change == "less":
        (model / "empty").unlink()
    else:
        (model / "weights").write_bytes(b"0123456780")
    assert node.receiver.find_folder(listing, model, keep=True) is None


def test_a_folder_that_changes_while_it_is_sent_is_refused(node: Calls, model: Path) -> None:
    listing = listed(model)
    (model / "weights").write_bytes(b"0123456780")
    with pytest.raises(UserError, match="changed while it was sent"):
        bring([node], model, listing, keep=True, same_path=False)
    assert list(kept_folders().iterdir()) == []


def test_of_several_nodes_those_that_lack_it_get_each_part_once(node: Calls, model: Path) -> None:
    other, third, listing = Calls(FolderReceiver()), Calls(FolderReceiver()), listed(model)
    bring([other], model, listing, keep=False, same_path=False)
    other.called.clear()
    asked: list[int] = []

    def answer(number: int, result: Any, _seconds: float) -> Any:
        asked.append(number)
        return result

    there = bring([node, other, third], model, listing, keep=False, same_path=False, answer=answer)
    assert [listed(folder) for folder in there] == [listing] * 3
    assert len(set(there)) == 3
    assert other.called == ["find_folder"]
    assert asked == [0, 1, 2, *[0, 2] * 6]
    other.receiver.forget_folders()
    third.receiver.forget_folders()


def test_only_the_files_that_are_named_are_sent(node: Calls, model: Path) -> None:
    (there,) = bring([node], model, listed(model, ["weights"]), keep=False, same_path=False)
    assert [path.name for path in there.iterdir()] == ["weights"]


def test_what_is_not_to_be_kept_goes_with_its_receiver(node: Calls, model: Path) -> None:
    (there,) = bring([node], model, listed(model), keep=False, same_path=False)
    assert there.is_relative_to(node.receiver.own_folder)
    node.receiver.forget_folders()
    assert not there.exists()
    assert not kept_folders().exists()


def test_no_file_is_written_that_the_listing_does_not_name(node: Calls, model: Path, tmp_path: Path) -> None:
    for name in ("../../outside", str(tmp_path / "outside"), "more"):
        with pytest.raises(ValueError, match="no file of that folder"):
            node.receiver.write_part(listed(model), name, 0, [b"1"], keep=False)
    assert not (tmp_path / "outside").exists()
