"""Control groups, on a folder that looks like a cgroup v2 file system."""

import os
import subprocess
from pathlib import Path

import pytest

from toolkit.sandbox.cgroup import Groups, find_groups


def _group(path: Path, *, controllers: str = "cpu memory pids", enabled: str = "", processes: str = "") -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "cgroup.controllers").write_text(controllers)
    (path / "cgroup.subtree_control").write_text(enabled)
    (path / "cgroup.procs").write_text(processes)
    return path


def _own(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "own"
    file.write_text(text)
    return file


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    return _group(tmp_path / "cgroup")


def test_the_root_of_what_is_seen_is_delegated(mount: Path, tmp_path: Path) -> None:
    groups = find_groups(mount, _own(tmp_path, "0::/\n"))
    assert groups == Groups(mount, f"the memory and the processes of each worker are limited, in {mount}")
    assert (mount / "cgroup.subtree_control").read_text() == "+memory +pids"


def test_the_group_above_serves_where_this_ones_own_does_not(mount: Path, tmp_path: Path) -> None:
    service = _group(mount / "service", enabled="memory pids")
    _group(service / "own", controllers="")
    os.setxattr(service, "user.delegate", b"1")
    assert find_groups(mount, _own(tmp_path, "12:cpu:/x\n0::/service/own\n")).parent == service


def test_a_group_has_its_limits_and_is_joined_before_anything_runs(mount: Path, tmp_path: Path) -> None:
    groups = find_groups(mount, _own(tmp_path, "0::/\n"))
    first, second = (groups.make(memory_bytes=1 << 20, processes=7) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.path.parent == mount
    assert first.path != second.path
    assert (first.path / "memory.max").read_text() == "1048576"
    assert (first.path / "pids.max").read_text() == "7"
    assert (first.path / "memory.swap.max").read_text() == "0"
    command = first.around(["cat", str(first.path / "cgroup.procs")])
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "0\n"


def test_a_group_that_cannot_be_joined_starts_nothing(mount: Path, tmp_path: Path) -> None:
    group = find_groups(mount, _own(tmp_path, "0::/\n")).make(memory_bytes=1, processes=1)
    assert group is not None
    group.path.rename(tmp_path / "gone")
    ended = subprocess.run(group.around(["echo", "ran"]), capture_output=True, text=True, check=False)
    assert (ended.returncode != 0, ended.stdout) == (True, "")


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        ("4:memory:/x\n", "cannot be seen"),
        ("0::/../../x\n", "cannot be seen"),
        ("0::/poor\n", "has no memory and pids controllers; start it with `systemd-run --user --scope"),
        ("0::/missing\n", "No such file or directory; start it"),
    ],
)
def test_without_delegation_the_reason_is_said(mount: Path, tmp_path: Path, own: str, reason: str) -> None:
    _group(mount / "poor", controllers="cpu")
    groups = find_groups(mount, _own(tmp_path, own))
    assert groups.make(memory_bytes=1, processes=1) is None
    assert groups.note.startswith("no limits of this kind: ")
    assert reason in groups.note


def test_cgroup_v1_is_no_delegation(tmp_path: Path) -> None:
    assert "is no cgroup v2" in find_groups(tmp_path, _own(tmp_path, "4:memory:/x\n")).note


@pytest.mark.skipif(os.geteuid() != 0, reason="what another user owns is another's only for root, who may write it")
def test_root_takes_no_group_that_was_not_given(mount: Path, tmp_path: Path) -> None:
    _group(mount / "slice" / "session", enabled="memory pids")
    _group(mount / "slice", enabled="memory pids")
    assert "belongs to another" in find_groups(mount, _own(tmp_path, "0::/slice/session\n")).note


def test_the_groups_of_processes_that_ended_are_removed(mount: Path, tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    old, mine = mount / f"apprentice-{ended.pid}-1", mount / f"apprentice-{os.getpid()}-999"
    old.mkdir()
    mine.mkdir()
    find_groups(mount, _own(tmp_path, "0::/\n"))
    assert not old.exists()
    assert mine.exists()
