"""Approved tools: part of the agent, run in the pool for model-made code, and only as they were approved."""

import json
from pathlib import Path

import pytest

from tests.unit.evolver.tool_making.test_pool import made
from toolkit.config import Config, SandboxConfig, ToolkitConfig, ToolsConfig, load_config
from toolkit.errors import ConfigError
from toolkit.execute import open_executor
from toolkit.made import read_approved, remove_approved, write_approved
from toolkit.sources import load_local_tools
from toolkit.tool import ToolCall, ToolErrorKind


def test_an_approved_tool_is_one_of_the_agents_and_runs_isolated(tmp_path: Path) -> None:
    write_approved(tmp_path, made())
    write_approved(tmp_path, made("module_seen", "len(__import__('os').listdir('/opt/installed')) + total"))
    config = ToolkitConfig(
        tools=ToolsConfig(builtin=False, approved=tmp_path), sandbox=SandboxConfig(workers=1, timeout_seconds=60)
    )
    with open_executor(config) as executor:
        assert executor.registry.names() == ["half_bill", "module_seen"]
        assert executor.execute(ToolCall(id="1", name="half_bill", arguments={"total": 9})).value == 4.5
        result = executor.execute(ToolCall(id="1", name="module_seen", arguments={"total": 1}))
        assert result.error is not None
        assert result.error.kind is ToolErrorKind.TOOL_FAILED
        assert "No such file" in result.error.message


def test_load_config_says_where_they_are(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('data_folder = "mine"\n[toolkit.tools]\nbuiltin = false\n')
    config = load_config(file, Config)
    assert config.toolkit.tools.approved == tmp_path / "mine" / "approved_tools"
    write_approved(tmp_path / "mine" / "approved_tools", made())
    assert load_local_tools(config.toolkit).names() == ["half_bill"]
    assert load_local_tools(ToolkitConfig(tools=ToolsConfig(builtin=False))).names() == []


@pytest.mark.parametrize("text", ["toolkit = 3", "[toolkit]\ntools = 3", "data_folder = 3"])
def test_a_table_of_a_wrong_type_is_still_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"toolkit|tools|data_folder"):
        load_config(file, Config)


@pytest.mark.parametrize("damage", ["code", "name", "hash", "json", "moved"])
def test_what_was_not_approved_as_it_is_stops_the_start(tmp_path: Path, damage: str) -> None:
    write_approved(tmp_path, made())
    file = tmp_path / "half_bill.json"
    stored = json.loads(file.read_text())
    if damage == "code":
        stored["tool"]["source"] += "\nimport os\n"
    elif damage == "name":
        stored["tool"]["name"] = "other"
    elif damage == "hash":
        del stored["sha256"]
    file.write_text("{" if damage == "json" else json.dumps(stored))
    if damage == "moved":
        file.rename(tmp_path / "other_bill.json")
    with pytest.raises(ConfigError, match="evolver tools approve"):
        read_approved(tmp_path)


def test_a_draft_is_no_tool_and_removing_twice_is_harmless(tmp_path: Path) -> None:
    (tmp_path / ".half_bill.draft").write_text("{")
    assert read_approved(tmp_path) == []
    write_approved(tmp_path, made())
    for _ in range(2):
        remove_approved(tmp_path, ["half_bill"])
        assert read_approved(tmp_path) == []
