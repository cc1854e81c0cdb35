"""Each check alone: what it finds, and the fix."""

import importlib.util
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import toolkit.execute
from agent.adapters import active
from agent.adapters.active import SHARED, ActiveAdapter
from agent.config import AgentConfig, UpstreamConfig
from agent.models import parser_check
from agent.models.profile import ModelProfile
from agent.serving import serving_state
from agent.serving.serving_state import ServingState
from agent.storage import database_server
from evolver.config import Config
from evolver.maintenance import gpu_memory
from evolver.maintenance.doctor import Check, examine
from evolver.release import release
from evolver.store.copy_ledger import copy_ledger
from evolver.store.ledger import Ledger
from tests.fakes import shop_tools
from tests.fakes.evolution import publish_adapter, tamper, tamper_manifest
from tests.fakes.model_folders import write_family
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.postgres import PostgresServer
from tests.fakes.sandbox import InProcessSandbox
from toolkit.config import ToolkitConfig
from toolkit.errors import PrerequisiteError, SandboxUnavailable
from toolkit.execute import Executor
from toolkit.registry import LeftOut, ToolRegistry
from toolkit.sources import load_tools


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Everything is there."""
    use(monkeypatch, shop_tools.executor)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=50 * 2**30))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(gpu_memory, "card_gib", lambda: None)
    serving = ServingState(pid=os.getpid(), gateway_url="http://here", vllm_url="", vllm_pid=1, vllm_key="")
    serving_state.write(tmp_path, serving)
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
    assert [check.name for check in checks] == [
        "sqlite", "packages", "disk", "gpu", "sandbox", "tools", "model", "ledger", "server",
    ]  # fmt: skip
    assert all(check.ok for check in checks)
    assert checks[2:] == [
        Check(name="disk", ok=True, found="50 GiB free"),
        Check(name="gpu", ok=True, found="not used"),
        Check(name="sandbox", ok=True, found=f"isolates; {len(shop_tools.FUNCTIONS)} tools"),
        Check(name="tools", ok=True, found=f"{len(load_tools(config.toolkit))} tools"),
        Check(
            name="model",
            ok=True,
            found="default is not on this machine yet; agent serve prepares what comes as a package",
        ),
        Check(name="ledger", ok=True, found="whole; base serves"),
        Check(name="server", ok=True, found="http://here"),
    ]


def test_tools_that_are_left_out_are_said_and_a_lost_server_is_a_problem(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = ToolRegistry()
    registry.left_out = [LeftOut("mcp:odd", "bomb", "its schema is larger than 16 KiB")]
    monkeypatch.setattr("toolkit.sources.load_tools", lambda _: registry)
    told = "mcp:odd: bomb is left out: its schema is larger than 16 KiB; see toolkit list --left-out"
    assert [check.found for check in examine(config) if check.name == "tools"] == [f"0 tools; {told}"]
    assert problems(config) == {}
    registry.left_out = [LeftOut("mcp:odd", "(server)", "server odd ended")]
    assert problems(config) == {
        "tools": "0 tools; mcp:odd: server odd ended; see toolkit list --left-out; "
        "start the server again, or take it out of [toolkit.mcp]"
    }


def with_model(config: Config, family: str) -> Config:
    folder = write_family(config.data_folder / "m", family)
    (folder / "config.json").write_text("{}")
    return Config(data_folder=config.data_folder, agent={"serving": {"model": str(folder)}})  # pyright: ignore


def test_a_model_whose_calls_are_read_back_is_asked_once(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def parsed(profile: ModelProfile, folder: Path, texts: list[str]) -> list[Any]:
        asked.append(texts)
        return [[["probe_alpha", {"value": 17}]] * text.count("probe_alpha") for text in texts]

    monkeypatch.setattr(parser_check, "_parsed", parsed)
    monkeypatch.setattr(parser_check, "_vllm_version", lambda: "1")
    config = with_model(config, "xlam")
    told = "m: instruct, call and two calls read back by vLLM's parser xlam"
    for _ in range(2):
        assert [check.found for check in examine(config) if check.name == "model"] == [told]
    assert len(asked) == 1
    monkeypatch.setattr(parser_check, "_vllm_version", lambda: "2")
    monkeypatch.setattr(parser_check, "_parsed", lambda *_: [[], []])
    assert "vLLM's parser xlam reads [] in " in problems(config)["model"]


def test_a_model_that_cannot_be_spoken_to_is_a_problem(config: Config) -> None:
    assert "form that is not known" in problems(with_model(config, "unknown"))["model"]


def test_a_quantised_model_is_a_problem_before_anything_is_started(config: Config) -> None:
    config = with_model(config, "xlam")
    settings = {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
    (config.data_folder / "m" / "config.json").write_text(json.dumps(settings))
    told = problems(config)["model"]
    assert "holds quantised weights (bitsandbytes), which cannot be trained on; set [agent.serving] model" in told


def test_an_adapter_that_learned_with_another_template_is_said(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parser_check, "checked", lambda *_: "read back")
    config = with_model(config, "xlam")
    adapter = publish_adapter(config.data_folder, "adapter-0001")
    active.write(config.data_folder, ActiveAdapter(name="adapter-0001", sha256=adapter.sha256))
    (found,) = [check for check in examine(config) if check.name == "model"]
    assert (found.ok, found.warning) == (True, True)
    assert "adapter-0001 learned with another chat template" in found.found


def test_no_server(config: Config) -> None:
    serving_state.path(config.data_folder).unlink()
    assert problems(config) == {"server": "not running; start it with: agent serve"}


def test_servers_of_others_that_answer_without_their_key(config: Config) -> None:
    with ModelServer(
        key="k", script=lambda _: Says("", status=400)
    ) as server:  # asks for its key on every route that it has

        def found(url: str) -> Check:
            serving = config.agent.serving.model_copy(update={"upstreams": (UpstreamConfig(url=url),)})
            agent = config.agent.model_copy(update={"serving": serving})
            return examine(config.model_copy(update={"agent": agent}))[-1]

        closed, gone = found(server.url), found("http://127.0.0.1:9")
        server.key = ""
        opened = found(server.url)
    assert closed == Check(name=f"upstream {server.url}", ok=True, found="asks for its key")
    assert (opened.ok, opened.warning) == (True, True)
    assert opened.found.startswith("answers /invocations without a key, to everybody who reaches it; close its port")
    assert (gone.ok, gone.warning) == (False, False)
    assert gone.found.startswith("no server is running")


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


def test_databases_on_postgres_are_asked_and_a_ledger_that_was_not_moved_is_said(
    config: Config, postgres: PostgresServer
) -> None:
    data = config.data_folder
    with Ledger(data / "evolution.db") as ledger:
        ledger.open_cycle()
    moved = Config(data_folder=data, agent=AgentConfig(database=postgres.database()))
    assert "run: agent db copy" in problems(moved)["ledger"]
    copy_ledger(moved, lambda line: None)
    assert "ledger" not in problems(moved)
    away = Config(data_folder=data, agent=AgentConfig(database="postgresql://nobody@127.0.0.1:9/nothing"))
    assert "check [agent] database in config.toml, and that the server runs" in problems(away)["ledger"]
    database_server.keep(data, "")


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


def test_what_serves_each_tenant_is_checked_like_everybodys(config: Config) -> None:
    data = config.data_folder
    with Ledger(data / "evolution.db", tenant="sales") as ledger:
        number = ledger.open_cycle().number
        adapter = publish_adapter(data, "adapter-0001", tenant="sales")
        ledger.add_adapter(adapter, number, "base", "d")
        release.promote("adapter-0001", data, ledger, None, reason="test")
    active.write(data, ActiveAdapter(name=SHARED), tenant="care")
    found = {check.name: check.found for check in examine(config)}
    assert found["tenant sales"] == "adapter-0001 serves"
    assert found["tenant care"] == "everybody's adapter serves"
    tamper_manifest(adapter)
    assert problems(config) == {
        "tenant sales": "adapter-0001 is not what was promoted; serve another one with: evolver rollback --tenant sales"
    }
    active.path(data, "care").write_text("{")
    assert "evolver rollback shared --tenant care" in problems(config)["tenant care"]
