import json
import sys
from pathlib import Path

import pytest

from toolkit import cli


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["toolkit", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    code = ended.value.code
    return code if isinstance(code, int) else int(code is not None)


def test_list_as_table_and_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _run(monkeypatch, "list") == 0
    table = capsys.readouterr().out
    assert "count_words" in table
    assert "(text: string, case: upper|lower|title)" in table
    assert _run(monkeypatch, "list", "--json") == 0
    tools = json.loads(capsys.readouterr().out)
    assert {"name", "source", "effect", "parameters"} <= tools[0].keys()
    assert len(tools) == len(table.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["call", "nothing", "{}"], "there is no tool named nothing"),
        (["call", "count_words", "{"], "the arguments are no JSON"),
        (["call", "count_words", "[]"], "must be a JSON object"),
        (["list", "--config", "missing.toml"], "give the path of a config.toml"),
    ],
)
def test_a_user_error_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _run(monkeypatch, *arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_a_call_runs_in_the_sandbox(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _run(monkeypatch, "call", "count_words", '{"text": "a b c"}') == 0
    assert capsys.readouterr().out == "3\n"
    assert _run(monkeypatch, "call", "circle_area", '{"radius": -1}', "--json") == 1
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "tool_failed"


def test_an_unknown_key_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[toolkit.sandbox]\ntimeout = 3\n")
    assert _run(monkeypatch, "list", "--config", str(file)) == 2
    assert "unknown key toolkit.sandbox.timeout; allowed here: memory_mib" in capsys.readouterr().err
