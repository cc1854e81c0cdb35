"""``agent import``."""

import io
import json
import sys

import pytest

from agent.cli import main
from agent.config import Config
from tests.unit.agent.imports.exports import FIRST, SECOND, as_lines


def agent(config: Config, *arguments: str) -> int:
    file = config.data_folder.parent / "config.toml"
    file.write_text('data_folder = "data"\n')
    sys.argv = ["agent", "import", *arguments, "--config", str(file)]
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_the_command_reports_what_it_took(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    file = config.data_folder.parent / "log.jsonl"
    file.write_bytes(as_lines(FIRST, SECOND, {"text": "x"}))
    assert agent(config, str(file)) == 0
    said = capsys.readouterr().out
    assert "imported: 2 turns of 3 lines (2 openai)" in said
    assert "left out: 1 unknown_format: The object has none of the known formats. First: line 3." in said
    assert "import the file again with --own" in said
    assert agent(config, str(file), "--json", "--own") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["turns"], report["freed"]) == (0, 2)
    assert {entry["reason"]: entry["count"] for entry in report["left_out"]} == {"known": 2, "unknown_format": 1}


def test_stdin_is_read_for_a_dash(
    config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(as_lines(SECOND))))
    assert agent(config, "-", "--dry-run") == 0
    assert "would be imported: 1 turns of 1 lines" in capsys.readouterr().out


def test_a_missing_file_is_one_line(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    assert agent(config, "nowhere.jsonl") == 2
    said = capsys.readouterr().err
    assert "name a file of exported logs" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(("option", "what"), [("--owner", "name of a key"), ("--tenant", "tenant")])
def test_names_that_no_key_can_have_are_one_line(
    option: str, what: str, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    file = config.data_folder.parent / "log.jsonl"
    file.write_bytes(as_lines(SECOND))
    for name in ("x/y", "../x", "a b", "x" * 65):
        assert agent(config, str(file), option, name) == 2
        said = capsys.readouterr().err
        assert f"{name!r} is no {what}; use letters, digits" in said
        assert len(said.splitlines()) == 1
    assert not config.data_folder.exists()
    assert agent(config, str(file), option, "shop-1.eu") == 0
