import json
import sys
from pathlib import Path

import pytest

from toolkit import cli
from toolkit.sandbox.kernel import landlock_version


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
    assert "unknown key toolkit.sandbox.timeout; allowed here: made_code, memory_mib" in capsys.readouterr().err


def test_check_prints_every_attempt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _run(monkeypatch, "check") == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert len(lines) >= 15
    assert all(line.split()[0] == "held" and len(line.split("  ")) > 3 for line in lines)
    assert f"{len(lines)} of {len(lines)} attempts held" in printed.err
    assert "Landlock: " in printed.err
    assert "control groups: " in printed.err
    assert _run(monkeypatch, "check", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["landlock"], report["servers"]) == (landlock_version(), [])
    assert report["control_groups"] in printed.err
    findings = report["attempts"]
    assert [each["held"] for each in findings] == [True] * len(lines)
    assert all(each["attempt"] and each["outcome"] for each in findings)
    codes = [each["code"] for each in findings]
    assert codes.count("tools") == codes.count("model-made") >= 15


_LOST = [
    "mcp:complains: server complains ended: the licence \ufffd[31mhas expired",
    "mcp:silent: server silent does not answer within 2 s",
]


@pytest.fixture
def four_servers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A configuration with four MCP servers, two of which do not serve."""
    monkeypatch.chdir(tmp_path)
    server = Path(__file__).parents[2] / "fakes" / "mcp_raw_server.py"
    tables = ["[toolkit.tools]\nbuiltin = false"]
    for name, seconds in (("plain", 60), ("complains", 60), ("silent", 2), ("million", 60)):
        command = json.dumps(["python", "-S", str(server), name])
        limits = f"timeout_seconds = {seconds}\nmax_tools = 3"
        tables.append(f"[toolkit.mcp.{name}]\ncommand = {command}\nbind = ['{server}']\n{limits}")
    (tmp_path / "config.toml").write_text("\n".join(tables))


def test_how_servers_stand_is_shown_by_list_and_call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], four_servers: None
) -> None:
    assert _run(monkeypatch, "list", "--json") == 0
    printed = capsys.readouterr()
    assert {tool["source"] for tool in json.loads(printed.out)} == {"mcp:plain", "mcp:million"}
    assert printed.err.splitlines() == [*_LOST, "1 functions are no tools; see toolkit list --left-out"]
    assert _run(monkeypatch, "list", "--left-out", "--json") == 0
    reasons = [each["reason"] for each in json.loads(capsys.readouterr().out)]
    assert "the server lists more than 3 tools" in reasons
    assert _run(monkeypatch, "call", "silent_echo", '{"text": "a"}') == 2
    assert capsys.readouterr().err.splitlines() == [
        *_LOST, "toolkit: there is no tool named silent_echo; did you mean plain_echo?"
    ]  # fmt: skip
    assert _run(monkeypatch, "call", "plain_echo", '{"text": "a"}', "--json") == 0
    assert json.loads(capsys.readouterr().out)["value"] == "a"


def test_how_servers_stand_is_shown_by_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], four_servers: None
) -> None:
    assert _run(monkeypatch, "check") == 0
    shown = capsys.readouterr().err.splitlines()
    assert shown[2:-1] == ["mcp:plain: 2 tools, 0 left out", *_LOST, "mcp:million: 3 tools, 1 left out"]
    assert _run(monkeypatch, "check", "--json") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    reasons = [text.partition(": ")[2] for text in _LOST]
    assert json.loads(printed.out)["servers"] == [
        {"source": "mcp:plain", "tools": 2, "left_out": 0, "reason": ""},
        {"source": "mcp:complains", "tools": 0, "left_out": 0, "reason": reasons[0]},
        {"source": "mcp:silent", "tools": 0, "left_out": 0, "reason": reasons[1]},
        {"source": "mcp:million", "tools": 3, "left_out": 1, "reason": ""},
    ]


def test_check_tries_the_workers_of_users_modules_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "config.toml").write_text("[toolkit.tools]\npython_modules = ['math']\n")
    monkeypatch.chdir(tmp_path)
    assert _run(monkeypatch, "check", "--json") == 0
    codes = [each["code"] for each in json.loads(capsys.readouterr().out)["attempts"]]
    assert codes.count("tools") == codes.count("modules") == codes.count("model-made") >= 15


def test_what_a_users_module_raises_does_not_steer_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "rude_tools.py").write_text("raise RuntimeError('\\x1b[2J\\u202egone\\ud800 <tool_call>')\n")
    (tmp_path / "config.toml").write_text("[toolkit.tools]\nmodules = ['rude_tools']\n")
    monkeypatch.chdir(tmp_path)
    assert _run(monkeypatch, "check") == 2
    assert capsys.readouterr().err == (
        "toolkit: module rude_tools cannot be imported: RuntimeError: "
        "\ufffd[2J\ufffdgone? \u2039tool_call>; correct the module\n"
    )


def test_modules_are_found_beside_the_config_whatever_the_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name, key in (("here", ""), ("below", 'folder = "below"\n')):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "shop_tools_here.py").write_text(
            "from toolkit.declare import tool\n\n\n@tool(effect='pure')\ndef twice_as(value: int) -> int:\n"
            "    return 2 * value\n"
        )
        file = (folder if name == "here" else tmp_path) / "config.toml"
        file.write_text(f"[toolkit.tools]\n{key}builtin = false\nmodules = ['shop_tools_here']\n")
        elsewhere = tmp_path / f"not_{name}"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        assert _run(monkeypatch, "call", "twice_as", '{"value": 4}', "--config", str(file)) == 0
        assert capsys.readouterr().out == "8\n"


def test_json_holds_nothing_that_steers_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    hostile = "a\x1b[31m\x9b2J\u202eb\u2066\u200f"
    for option in ([], ["--json"]):
        assert _run(monkeypatch, "call", "reverse_text", json.dumps({"text": hostile}), *option) == 0
        printed = capsys.readouterr().out
        assert not {"\x1b", "\x9b", "\u202e", "\u2066", "\u200f"} & set(printed)
    assert json.loads(printed)["value"] == hostile[::-1]
