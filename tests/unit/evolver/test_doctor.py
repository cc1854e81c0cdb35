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
from evolver.config import Config
from evolver.doctor import Check, examine
from tests.fakes import shop_tools
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
    assert [check.name for check in checks] == ["sqlite", "packages", "disk", "sandbox", "server"]
    assert all(check.ok for check in checks)
    assert checks[2:] == [
        Check(name="disk", ok=True, found="50 GiB free"),
        Check(name="sandbox", ok=True, found=f"isolates; {len(shop_tools.FUNCTIONS)} tools"),
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
    assert problems(config) == {"packages": "missing: peft; install them with: make setup"}


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
