"""A folder to begin in."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from agent import cli, init
from agent.config import Config
from toolkit.config import load_config
from toolkit.errors import UserError

ROOT = Path(__file__).parents[3]


def test_the_shipped_settings_are_those_of_the_project() -> None:
    assert (ROOT / "agent" / "starting" / "config.toml").read_bytes() == (ROOT / "config.toml").read_bytes()


def test_the_written_settings_name_the_written_module_and_change_nothing_else(tmp_path: Path) -> None:
    config, tools = init.write_files(tmp_path / "shop")
    assert (config, tools) == (tmp_path / "shop" / "config.toml", tmp_path / "shop" / "my_tools.py")
    shipped = tomllib.loads((ROOT / "config.toml").read_text(encoding="utf-8"))
    shipped["toolkit"]["tools"]["modules"] = ["my_tools"]
    assert tomllib.loads(config.read_text(encoding="utf-8")) == shipped
    loaded = load_config(config, Config)
    assert loaded.toolkit.tools.folder.resolve() == config.parent
    columns = {line.index("#") for line in config.read_text("utf-8").splitlines()[8:11]}
    assert len(columns) == 1


@pytest.mark.parametrize("name", ["config.toml", "my_tools.py"])
def test_nothing_is_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=rf"{name} is there already and stays as it is; name another folder"):
        init.write_files(tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="name a folder in which you may write"):
        init.write_files(tmp_path / "file" / "shop")


def test_the_folder_to_enter_is_named_unless_one_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert init.next_steps(tmp_path)[0] == f"cd {tmp_path}"
    monkeypatch.chdir(tmp_path)
    assert init.next_steps(Path())[0].startswith("toolkit call shipping_days")


def doctor(monkeypatch: pytest.MonkeyPatch, *checks: dict[str, Any], stderr: str = "", code: int = 1) -> None:
    def run(command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        assert command[3:6] == ["evolver.cli.main", "doctor", "--json"]
        return subprocess.CompletedProcess(command, code, json.dumps(checks) if checks else "", stderr)

    monkeypatch.setattr(subprocess, "run", run)


SERVER = {"name": "server", "ok": False, "warning": False, "found": "not running"}


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["agent", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize(("ok", "state", "code"), [(True, "ok", 0), (False, "PROBLEM", 1)])
def test_the_machine_is_checked_and_a_server_is_not_missed_yet(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ok: bool,
    state: str,
    code: int,
) -> None:
    doctor(monkeypatch, {"name": "sandbox", "ok": ok, "warning": False, "found": "isolates"}, SERVER)
    assert run(monkeypatch, "init", str(tmp_path)) == code
    out = capsys.readouterr().out
    assert [state, "sandbox", "isolates"] in [line.split() for line in out.splitlines()]
    assert "not running" not in out
    assert "  agent serve --detach\n" in out


def test_checks_that_do_not_run_say_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    doctor(monkeypatch, stderr="Traceback\nevolver: the disk is full\n")
    assert run(monkeypatch, "init", str(tmp_path)) == 2
    assert capsys.readouterr().err == (
        "agent: the checks did not run: evolver: the disk is full; try again with: evolver doctor\n"
    )
