"""What a conversation shows in the terminal."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.adapters import active
from agent.chat.commands import ChatCommands
from agent.chat.conversation import Chat
from agent.chat.talk import talk
from agent.config import LoopConfig, PromptConfig
from agent.errors import ModelUnavailable
from agent.log.interaction_log import InteractionLog
from agent.log.session import Session
from agent.turn.loop import Agent
from agent.turn.model_client import HttpModelClient
from agent.turn.shown import as_json, summary
from agent.turn.terminal import Terminal
from tests.fakes.model_server import Says, serving
from tests.fakes.model_tools import TOOLS, AllTools, InProcess
from toolkit.registry import LeftOut, ToolRegistry

EVIL = "\x1b]0;owned\x07\x1b[2J\u202eevil"


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextmanager
def chat(folder: Path, *replies: Says) -> Iterator[tuple[Chat, InteractionLog]]:
    with (
        serving(*replies) as server,
        HttpModelClient(server.url) as client,
        InteractionLog(folder / "log.db") as log,
    ):
        agent = Agent(client, InProcess(), AllTools(), LoopConfig(), PromptConfig())
        session = Session("s", log, folder, history_turns=3)
        commands = ChatCommands(session, TOOLS, lambda: active.read(folder), "http://here/ui")
        yield Chat(agent, session, ToolRegistry(TOOLS), commands), log


def test_answer_on_stdout_calls_on_stderr(tmp_path: Path) -> None:
    out, err = io.StringIO(), io.StringIO()
    add = Says("Let me see.", calls=[("add", '{"a": 1, "b": 2}'), ("add", '{"a"')])
    with chat(tmp_path, add, Says("It is 3.")) as (talking, _):
        talking.turn("1 + 2?", shown=Terminal(out, err))
    assert out.getvalue() == "Let me see.\nIt is 3.\n"
    assert err.getvalue().splitlines()[:3] == ["→ add(a=1, b=2)", '→ add that does not parse: {"a"', "← 3"]
    assert err.getvalue().splitlines()[3].startswith("← error (malformed_call)")


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    out, err = Tty(), Tty()
    evil_call = ("add", json.dumps({EVIL: EVIL}))
    with chat(tmp_path, Says(EVIL, calls=[evil_call, (EVIL, "{" + EVIL)]), Says(f"a\nb\r{EVIL}")) as (talking, _):
        talking.turn("hi", shown=Terminal(out, err))
    shown = out.getvalue() + err.getvalue().replace("\x1b[2m", "").replace("\x1b[0m", "")
    assert not set(shown) & {"\x1b", "\x07", "\r", "\u202e"}
    assert out.getvalue().endswith("evil\n")


def test_turns_follow_each_other_and_are_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("I am Ada.\n\n   \nWho am I?\n"))
    with chat(tmp_path, Says("Hello."), Says("Ada.")) as (talking, log):
        talk(talking)
        logged = log.read()
    assert capsys.readouterr().out == "Hello.\nAda.\n"
    assert [i.trajectory.messages[0].content for i in logged] == ["I am Ada.", "Who am I?"]
    assert [m.content for m in logged[1].trajectory.history] == ["I am Ada.", "Hello."]
    assert {i.source for i in logged} == {"chat"}


def test_a_server_that_is_away_ends_the_turn_and_not_the_conversation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo\n"))
    with chat(tmp_path, Says("starting; try again", status=503), Says("Two.")) as (talking, log):
        talk(talking)
        logged = log.read()
    shown = capsys.readouterr()
    assert shown.out == "Two.\n"
    assert "starting; try again" in shown.err
    assert [i.trajectory.stop_reason for i in logged] == ["failed", "answered"]
    assert [m.content for m in logged[1].trajectory.history] == []


def test_a_failed_turn_is_logged_before_it_raises(tmp_path: Path) -> None:
    with chat(tmp_path, Says("starting", status=503)) as (talking, log):
        with pytest.raises(ModelUnavailable):
            talking.turn("hi", shown=None)
        assert log.read()[0].trajectory.error == "ModelUnavailable: starting"


def test_one_turn_for_programs(tmp_path: Path) -> None:
    with chat(tmp_path, Says(calls=[("add", '{"a": 1, "b": 2}')]), Says(calls=[("add", "[")]), Says("3")) as (
        talking,
        _,
    ):
        identity, trajectory = talking.turn("1 + 2?", shown=None)
    shown = as_json(identity, "s", trajectory)
    assert json.loads(json.dumps(shown)) == shown
    assert shown["id"] == identity
    assert shown["answer"] == "3"
    assert shown["calls"][0] == {"name": "add", "arguments": {"a": 1, "b": 2}, "value": 3}
    assert shown["calls"][1]["error"]["kind"] == "malformed_call"
    assert summary(identity, trajectory).startswith(f"{identity}, agent, ")


def test_what_is_left_out_is_said_without_control_characters(tmp_path: Path) -> None:
    with chat(tmp_path) as (talking, _):
        assert talking.left_out() == []
        talking._registry.left_out = [LeftOut("mcp:odd", "bomb", f"too large {EVIL}")]
        (line,) = talking.left_out()
    assert line.startswith("mcp:odd: bomb is left out: too large ")
    assert line.endswith("; see toolkit list --left-out")
    assert not set(line) & {"\x1b", "\x07", "\u202e"}


def test_commands_are_answered_without_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("1 + 2?\n/good\n/nonsense\n/etc/hosts?\n"))
    with chat(tmp_path, Says("3"), Says("A file.")) as (talking, log):
        talk(talking)
        logged = log.read()
    shown = capsys.readouterr()
    assert [i.trajectory.messages[0].content for i in logged] == ["1 + 2?", "/etc/hosts?"]
    assert [[word.verdict for word in i.feedback] for i in logged] == [["good"], []]
    assert "/nonsense is no command; see /help" in shown.err.splitlines()


def test_ctrl_c_ends_an_answer_and_not_the_conversation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo\n"))
    with chat(tmp_path, Says("Two.")) as (talking, log):
        run, interrupts = talking._agent.run, [True]

        def interrupted(text: str, **how: Any) -> Any:
            def token(_: str) -> None:
                raise KeyboardInterrupt

            return run(text, **{**how, "on_token": token} if interrupts and interrupts.pop() else how)

        monkeypatch.setattr(talking._agent, "run", interrupted)
        with serving(Says("One, and so on."), Says("Two.")) as server, HttpModelClient(server.url) as client:
            talking._agent._client = client
            talk(talking)
        logged = log.read()
    shown = capsys.readouterr()
    assert shown.out == "Two.\n"
    assert "stopped" in shown.err.splitlines()
    assert [i.trajectory.stop_reason for i in logged] == ["failed", "answered"]


def test_waiting_shows_seconds_and_never_in_the_middle_of_a_line() -> None:
    out, err = Tty(), Tty()
    terminal = Terminal(out, err)
    with terminal.waiting():
        assert terminal._elapsed is not None
        terminal.token("It is")
        assert terminal._elapsed._held
        terminal.token(" 3.\n")
        assert not terminal._elapsed._held
        terminal.token("So")
        terminal.note("stopped")
        assert not terminal._elapsed._held
    assert out.getvalue() == "It is 3.\nSo\n"
