"""Commands inside a conversation, and the lines that a person types."""

import io
import readline
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from agent.adapters.active import ActiveAdapter, Canary, Change
from agent.chat import lines as chat_input
from agent.chat.command_list import COMMANDS
from agent.chat.commands import ChatCommands
from agent.log.interaction_log import InteractionLog
from agent.log.session import Session
from agent.turn.messages import Message, Sampling, Trajectory
from tests.fakes.model_tools import TOOLS
from toolkit.errors import UserError
from toolkit.tool import ToolCall, ToolResult

SHA = "a" * 64


@pytest.fixture
def log(tmp_path: Path) -> Iterator[InteractionLog]:
    with InteractionLog(tmp_path / "interactions.db") as opened:
        yield opened


@pytest.fixture
def session(log: InteractionLog, tmp_path: Path) -> Session:
    return Session("garden", log, tmp_path, history_turns=3)


def turn(text: str, *, adapter: str = "base") -> Trajectory:
    call = ToolCall(id="c", name="add", arguments={"a": 1, "b": 2})
    messages = (
        Message(role="user", content=text),
        Message(role="assistant", tool_calls=(call,)),
        Message(role="tool", content="3", tool_result=ToolResult(call_id="c", name="add", value=3)),
        Message(role="assistant", content="3"),
    )
    return Trajectory(
        messages=messages,
        tools=("add",),
        adapter=adapter,
        prompt_version="v",
        sampling=Sampling(),
        stop_reason="answered",
    )


def commands(session: Session, pointer: ActiveAdapter | None = None) -> Callable[[str], list[str] | None]:
    def learned(adapter: str, tools: Sequence[str]) -> list[str]:
        return [f"{adapter} knows {name}" for name in tools]

    return ChatCommands(session, TOOLS, lambda: pointer or ActiveAdapter(), "http://here/ui", learned).answer


def test_help_lists_every_command(session: Session) -> None:
    listed = commands(session)("/help")
    assert listed is not None
    assert [line.split()[0] for line in listed[:-1]] == [f"/{name}" for name in COMMANDS]
    assert "Ctrl-D" in listed[-1]


def test_a_message_is_no_command(session: Session) -> None:
    answer = commands(session)
    assert [answer(text) for text in ("hello", "/etc/hosts has what?", "// comment", "/")] == [None] * 4


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("/quit", "/quit is no command; see /help"),
        ("/why not", "/why takes no words after it"),
        ("/why", "nothing was said yet in this conversation; say something first"),
        ("/good", "nothing was said yet in this conversation; say something first"),
    ],
)
def test_what_cannot_be_done_is_one_line(session: Session, line: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        commands(session)(line)


def test_tools_are_listed_by_source_with_those_that_were_shown(session: Session) -> None:
    answer = commands(session)
    sources = {tool.source for tool in TOOLS}
    before = answer("/tools") or []
    assert len(before) == len(sources) + 2
    assert all(any(tool.name in line for line in before) for tool in TOOLS)
    assert before[-2] == "shown in the last turn: nothing was said yet in this conversation"
    session.record(turn("1 + 2?"), TOOLS)
    assert (answer("/tools") or [])[-2] == "shown in the last turn: add"


def test_judging_goes_to_the_last_turn_also_of_an_earlier_day(session: Session, log: InteractionLog) -> None:
    first, second = session.record(turn("1 + 2?"), TOOLS), session.record(turn("2 + 2?"), TOOLS)
    answer = commands(session)
    said = answer("/bad  it is 4 ")
    assert said == [
        f"noted: {second} was bad",
        f"to say what would have been right: agent feedback {second} bad --expected TEXT",
    ]
    assert answer("/good") == [f"noted: {second} was good"]
    words = {one.id: [(word.verdict, word.note) for word in one.feedback] for one in log.read()}
    assert words == {first: [], second: [("bad", "it is 4"), ("good", "")]}


def test_the_last_turn_of_another_session_is_not_judged(session: Session, log: InteractionLog, tmp_path: Path) -> None:
    Session("other", log, tmp_path, history_turns=3).record(turn("hi"), TOOLS)
    with pytest.raises(UserError, match="nothing was said yet"):
        commands(session)("/bad")


CHANGE = Change(serial=1, previous="base", reason="better by 12 points", by="cycle", cycle=3)


@pytest.mark.parametrize(
    ("answered", "pointer", "standing"),
    [
        ("base", ActiveAdapter(), "the model without an adapter; none was promoted yet"),
        (
            "adapter-0003",
            ActiveAdapter(name="adapter-0003", sha256=SHA, change=CHANGE),
            "active in place of base by a cycle 3: better by 12 points",
        ),
        ("adapter-0002", ActiveAdapter(name="adapter-0003", sha256=SHA, change=CHANGE), "adapter-0003 is active now"),
        (
            "adapter-0004",
            ActiveAdapter(canary=Canary(name="adapter-0004", sha256=SHA, share=0.1)),
            "on trial with 10% of the sessions",
        ),
    ],
)
def test_why_says_what_was_shown_called_and_which_adapter_answered(
    session: Session, answered: str, pointer: ActiveAdapter, standing: str
) -> None:
    identity = session.record(turn("1 + 2?", adapter=answered), TOOLS)
    answer = commands(session, pointer)
    answer("/bad too short")
    lines = answer("/why") or []
    assert lines[:4] == [
        "request  1 + 2?",
        f"shown    add: the best matches of {len(TOOLS)} tools for the request",
        "called   add(a=1, b=2)",
        "ended    answered",
    ]
    assert lines[4].startswith(f"adapter  {answered}: ")
    assert lines[4].endswith(standing)
    assert lines[5:] == [
        "said     bad: too short",
        f"learned  {answered} knows add",
        f"more     http://here/ui/conversations/{identity}, or all cycles with: evolver history",
    ]


class Typed:
    """What a person types on a terminal: texts, and exceptions for keys."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *entered: str | type[BaseException]) -> None:
        stdin = io.StringIO()
        monkeypatch.setattr(stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr("sys.stdin", stdin)
        monkeypatch.setattr("builtins.input", self)
        self._entered = iter(entered)

    def __call__(self, prompt: str) -> str:
        assert prompt == "> "
        text = next(self._entered, EOFError)
        if isinstance(text, str):
            return text
        raise text


def test_ctrl_c_drops_a_line_and_ctrl_d_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    Typed(monkeypatch, "one", KeyboardInterrupt, "  ", "two", EOFError, "three")
    assert list(chat_input.lines([], [])) == ["one", "two"]


def test_earlier_requests_are_recalled_across_sessions(
    session: Session, log: InteractionLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Session("monday", log, tmp_path, history_turns=3).record(turn("password: hunter2xyzzy and\nmore"), TOOLS)
    log.append(turn("by HTTP"), session="", source="gateway")
    for text in ("again", "again", "last"):
        session.record(turn(text), TOOLS)
    Typed(monkeypatch)
    assert list(chat_input.lines(session.requests_before(10), [])) == []
    known = [readline.get_history_item(place + 1) for place in range(readline.get_current_history_length())]
    assert known == ["password: [secret] and more", "again", "last"]
    assert session.requests_before(1) == ["last"]
    assert (tmp_path / "interactions.db").stat().st_mode & 0o077 == 0


def test_the_tab_key_completes_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    Typed(monkeypatch)
    list(chat_input.lines([], ["/good", "/bad", "/why"]))
    complete = readline.get_completer()
    assert complete is not None
    assert [complete("/w", 0), complete("/w", 1), complete("", 0)] == ["/why", None, None]
