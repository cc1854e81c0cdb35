"""Databases are refused where SQLite would damage them."""

from pathlib import Path

import pytest

from agent.log.interaction_log import InteractionLog
from agent.storage import file_system
from evolver.store.ledger import Ledger
from toolkit.errors import PrerequisiteError


def mounted(monkeypatch: pytest.MonkeyPatch, folder: Path, *mounts: tuple[str, str]) -> None:
    """Let the kernel's table hold these (mount point, type), after a local root."""
    lines = ["22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw"]
    lines += [f"{n} 22 0:{n} / {where} rw,noatime - {kind} there rw" for n, (where, kind) in enumerate(mounts, 30)]
    table = folder / "mountinfo"
    table.write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(file_system, "MOUNTS", table)


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse", "fuse.sshfs", "fuseblk", "virtiofs"])
@pytest.mark.parametrize("way", ["write", "read", "evolver"])
def test_a_network_file_system_is_refused_with_the_fix_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, way: str
) -> None:
    data = tmp_path / "data"
    mounted(monkeypatch, tmp_path, (str(data), kind))
    fix = (
        f"is on {kind}, where SQLite databases get damaged; set data_folder in config.toml to a folder on a local disk"
    )
    with pytest.raises(PrerequisiteError, match=f"^{data}/.*.db: {fix}$"):
        match way:
            case "write":
                InteractionLog(data / "interactions.db")
            case "read":
                InteractionLog.open_readonly(data / "interactions.db")
            case _:
                Ledger(data / "evolution.db")
    assert not data.exists()


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "overlay", "tmpfs", "zfs", "fusectl", "nfsd"])
def test_a_local_one_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    mounted(monkeypatch, tmp_path, (str(tmp_path), kind))
    InteractionLog(tmp_path / "data" / "interactions.db").close()


def test_the_deepest_mount_counts_and_of_those_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "my data"
    inside = str(data).replace(" ", r"\040")
    mounted(monkeypatch, tmp_path, (str(tmp_path), "nfs4"), (inside, "nfs4"), (inside, "ext4"), (f"{inside}s", "nfs4"))
    assert file_system.file_system_of(data / "x.db") == "ext4"
    assert file_system.file_system_of(tmp_path / "my datas" / "x.db") == "nfs4"
    assert file_system.file_system_of(tmp_path / "other") == "nfs4"
    assert file_system.file_system_of(Path("/")) == "ext4"


def test_a_link_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "remote").mkdir()
    (tmp_path / "data").symlink_to("remote")
    mounted(monkeypatch, tmp_path, (str(tmp_path / "remote"), "nfs"))
    assert file_system.file_system_of(tmp_path / "data" / "x.db") == "nfs"


def test_without_a_table_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_system, "MOUNTS", tmp_path / "none")
    InteractionLog(tmp_path / "data" / "interactions.db").close()
