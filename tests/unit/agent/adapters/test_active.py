"""The pointer file."""

import os
from pathlib import Path

import pytest

from agent.adapters import active
from agent.adapters.active import SHARED, ActiveAdapter, Canary
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


def test_a_tenant_has_a_pointer_of_its_own_or_follows_the_shared_one(tmp_path: Path) -> None:
    shared = ActiveAdapter(name="adapter-0001", sha256="a" * 64)
    active.write(tmp_path, shared)
    assert active.tenants(tmp_path) == []
    assert active.read(tmp_path, "sales") == ActiveAdapter(name=SHARED)
    assert active.serving(tmp_path, "sales") == active.serving(tmp_path, "") == shared
    for tenant in ("sales", "a.b", "json"):
        active.write(tmp_path, ActiveAdapter(name=f"adapter-{tenant}", sha256="b" * 64), tenant=tenant)
        assert active.serving(tmp_path, tenant).name == active.read(tmp_path, tenant).name == f"adapter-{tenant}"
    assert active.tenants(tmp_path) == ["a.b", "json", "sales"]
    assert active.read(tmp_path) == shared


def test_a_tenant_that_follows_the_shared_pointer_may_try_an_adapter_of_its_own(tmp_path: Path) -> None:
    theirs = Canary(name="adapter-0002", sha256="b" * 64, share=0.5)
    active.write(tmp_path, ActiveAdapter(name="adapter-0001", sha256="a" * 64, canary=theirs))
    own = theirs.model_copy(update={"name": "adapter-0003"})
    assert active.serving(tmp_path, "sales").canary == theirs
    active.write(tmp_path, ActiveAdapter(name=SHARED, canary=own), tenant="sales")
    assert active.serving(tmp_path, "sales").name == "adapter-0001"
    assert active.serving(tmp_path, "sales").canary == own
    assert active.serving(tmp_path, "care").canary == theirs
