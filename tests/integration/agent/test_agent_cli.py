"""The agent command."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli import main
from agent.log.interaction_log import InteractionLog
from agent.turn.messages import Message, Sampling, Trajectory


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config.toml"
    file.write_text('data_folder = "here"\n')
    return file


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of ``agent ARGUMENTS``."""
    monkeypatch.setattr(sys, "argv", ["agent", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    code = ended.value.code
    return code if isinstance(code, int) else 0


def logged(config: Path, text: str = "hi", answer: str = "hello") -> str:
    messages = (Message(role="user", content=text), Message(role="assistant", content=answer))
    turn = Trajectory(
        messages=messages,
        tools=(),
        adapter="adapter-0001",
        prompt_version="v",
        sampling=Sampling(),
        stop_reason="answered",
    )
    with InteractionLog(config.parent / "here" / "interactions.db") as log:
        return log.append(turn, session="work", source="chat")


def test_log_and_feedback(config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    first = logged(config)
    second = logged(config, "evil", "\x1b[2Jevil")
    assert run(monkeypatch, "feedback", first, "bad", "--note", "rude", "--config", str(config)) == 0
    assert run(monkeypatch, "log", "--config", str(config)) == 0
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out
    lines = shown.out.splitlines()
    assert lines[0].startswith(first)
    assert lines[0].endswith("chat work  adapter-0001  answered, bad (rude)")
    assert lines[1:3] == ["  > hi", "  < hello"]
    assert run(monkeypatch, "log", "--limit", "1", "--json", "--config", str(config)) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["id"] == second
    assert entry["trajectory"]["messages"][1]["content"] == "\x1b[2Jevil"


def test_searching_the_log(config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    first = logged(config, "Ship it to Norway")
    logged(config, "hi")
    assert run(monkeypatch, "log", "--search", "nor ship", "--json", "--config", str(config)) == 0
    assert [entry["id"] for entry in json.loads(capsys.readouterr().out)] == [first]
    assert run(monkeypatch, "log", "--search", "Sweden", "--config", str(config)) == 0
    assert capsys.readouterr().err == "no turn holds these words\n"


def test_empty_log(config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "log", "--json", "--config", str(config)) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert run(monkeypatch, "log", "--config", str(config)) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "nothing was said yet; begin with: agent chat\n")
    assert not (config.parent / "here").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("chat", "--message", "hi"), "no server is running; start it with: agent serve"),
        (("chat",), "no server is running; start it with: agent serve"),
        (("chat", "--json"), "--json prints one turn; say which with --message TEXT"),
        (("chat", "--message", "  "), "the message is empty; say something with --message TEXT"),
        (("log", "--search", " "), "there is nothing to search for; name a word with --search TEXT"),
        (("feedback", "17", "good"), "nothing was said yet; begin with: agent chat"),
        (("log", "--config", "/nowhere/config.toml"), "give the path of a config.toml with --config"),
    ],
)
def test_user_errors_are_one_line_and_exit_code_2(
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    extra = () if "--config" in arguments else ("--config", str(config))
    assert run(monkeypatch, *arguments, *extra) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("agent: ")
    assert shown.err.endswith(message + "\n")
    assert shown.err.count("\n") == 1


def test_feedback_on_what_is_not_there(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logged(config)
    assert run(monkeypatch, "feedback", "17", "good", "--config", str(config)) == 2
    assert "there is no interaction 17; see their ids with: agent log" in capsys.readouterr().err
    assert run(monkeypatch, "feedback", "17", "fine", "--config", str(config)) == 2


def test_unknown_key_in_the_configuration(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text("[agent.loop]\nmax_step = 3\n")
    assert run(monkeypatch, "log", "--config", str(config)) == 2
    assert "unknown key agent.loop.max_step; allowed here: max_seconds, max_steps" in capsys.readouterr().err


def test_a_full_disk_is_one_line(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: Path) -> InteractionLog:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(InteractionLog, "open_readonly", full)
    assert run(monkeypatch, "log", "--config", str(config)) == 2
    assert capsys.readouterr().err == "agent: the disk is full; free some space and try again\n"


def test_a_bug_is_a_traceback_and_exit_code_1(config: Path) -> None:
    code = "import agent.cli as c, agent.log.interaction_log as i; i.InteractionLog.open_readonly = 3; c.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "log", "--config", str(config)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_the_command_loads_nothing_heavy() -> None:
    code = (
        "import sys, agent.commands, agent.chat.conversation\n"
        "import agent.serving.gateway.app, agent.serving.serve, agent.serving.detach\n"
        "print(sorted({'torch', 'transformers', 'vllm', 'peft'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == "[]\n"
    light = (
        "import sys, agent.commands; "
        "print(sorted({'httpx', 'pydantic', 'sqlite_utils', 'starlette'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", light], capture_output=True, text=True, check=True).stdout == "[]\n"
