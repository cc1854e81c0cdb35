"""Each check alone: what it finds, and the fix."""

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

import toolkit.execute
from agent.serving import state
from agent.serving.state import ServingState
from evolver import release
from evolver.config import Config
from evolver.doctor import Check, examine
from evolver.ledger import Ledger
from tests.fakes import shop_tools
from tests.fakes.evolution import publish_adapter, tamper, tamper_manifest
from tests.fakes.sandbox import InProcessSandbox
from toolkit.config import ToolkitConfig
from toolkit.errors import PrerequisiteError, SandboxUnavailable
from toolkit.execute import Executor
from toolkit.registry import ToolRegistry


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Everything is there."""
    use(monkeypatch, shop_tools.executor)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=50 * 2**30))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    serving = ServingState(pid=os.getpid(), gateway_url="http://here", vllm_url="", vllm_pid=1, vllm_key="")
    state.write(tmp_path, serving)
    return Config(data_folder=tmp_path)


def use(monkeypatch: pytest.MonkeyPatch, make: Callable[[], Executor]) -> None:
    @contextmanager
    def opened(_: ToolkitConfig) -> Iterator[Executor]:
        yield make()

    monkeypatch.setattr(toolkit.execute, "open_executor", opened)


def problems(config: Config) -> dict[str, str]:
    return {check.name: check.found for check in examine(config) if not check.ok}


def test_everything_is_there(config: Config) -> None:
    checks = examine(config)
    assert [check.name for check in checks] == ["sqlite", "packages", "disk", "sandbox", "ledger", "server"]
    assert all(check.ok for check in checks)
    assert checks[2:] == [
        Check(name="disk", ok=True, found="50 GiB free"),
        Check(name="sandbox", ok=True, found=f"isolates; {len(shop_tools.FUNCTIONS)} tools"),
        Check(name="ledger", ok=True, found="whole; base serves"),
        Check(name="server", ok=True, found="http://here"),
    ]


def test_no_server(config: Config) -> None:
    state.path(config.data_folder).unlink()
    assert problems(config) == {"server": "not running; start it with: agent serve"}


def test_little_disk(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**30))
    assert list(problems(config)) == ["disk"]
    assert problems(config)["disk"].startswith("1.0 GiB free")


def test_missing_packages(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "peft" else object())
    assert problems(config) == {"packages": "missing: peft; install them with: make -B setup"}


@pytest.mark.parametrize("error", [SandboxUnavailable("broken"), PrerequisiteError("install bubblewrap")])
def test_no_sandbox(config: Config, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def broken() -> Executor:
        raise error

    use(monkeypatch, broken)
    assert problems(config) == {"sandbox": str(error)}


def test_no_tools(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, lambda: Executor(ToolRegistry(), InProcessSandbox()))
    assert list(problems(config)) == ["sandbox"]
    assert "config.toml" in problems(config)["sandbox"]


def test_a_damaged_ledger_and_an_adapter_that_is_not_what_was_promoted(config: Config) -> None:
    with Ledger(config.data_folder / "evolution.db") as ledger:
        number = ledger.open_cycle().number
        adapter = publish_adapter(config.data_folder, "adapter-0001")
        ledger.add_adapter(adapter, number, "base", "d")
        release.promote("adapter-0001", config.data_folder, ledger, None, reason="test")
    assert "ledger" not in problems(config)
    tamper_manifest(adapter)
    assert "not what was promoted" in problems(config)["ledger"]
    tamper(adapter)
    assert "evolver rollback" in problems(config)["ledger"]
    (config.data_folder / "interactions.db").write_bytes(b"no database at all" * 300)
    assert "interactions.db" in problems(config)["ledger"]
