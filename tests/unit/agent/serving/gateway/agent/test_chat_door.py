"""The door of ``agent chat``: a turn there is shown and logged as in a process of its own."""

import asyncio
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.adapters import active
from agent.chat import at_server
from agent.chat.at_server import Connection, Found, ServerChat, open_at_server
from agent.chat.commands import ChatCommands
from agent.chat.conversation import Chat
from agent.config import LoopConfig, PromptConfig
from agent.errors import ModelUnavailable
from agent.log.interaction_log import InteractionLog
from agent.log.session import Session
from agent.serving import socket_folder
from agent.serving.gateway.agent.chat_door import ChatDoor
from agent.serving.gateway.agent.turns import AgentTurns
from agent.turn.loop import Agent
from agent.turn.model_client import HttpModelClient
from agent.turn.terminal import Terminal, Told
from tests.fakes.agent_gateway import running_agent
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.model_tools import TOOLS, AllTools, InProcess
from tests.fakes.waiting import wait_until
from toolkit.errors import UserError
from toolkit.registry import ToolRegistry

REPLIES = (
    Says("Let me see.", calls=[("add", '{"a": 1, "b": 2}'), ("add", '{"a"'), ("nobody", "{}")]),
    Says("It is \x1b[2J3.\n"),
)


class Opened:
    """A door behind which a scripted model answers, and what is on both sides of it."""

    def __init__(self, folder: Path, log: InteractionLog, turns: AgentTurns, found: Found) -> None:
        self.folder, self.log, self.turns, self.found = folder, log, turns, found
        self.close = threading.Event()


@contextmanager
def door(folder: Path, server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    with (
        InteractionLog(folder / "log.db") as log,
        running_agent(folder, server, log) as (gateway, url, _),
        socket_folder.bound(folder / "chat.sock") as listener,
    ):
        assert gateway.agent is not None
        turns = gateway.agent.turns
        opened = Opened(folder, log, turns, Found(None, str(folder / "chat.sock"), gateway.own_key, url))
        monkeypatch.setattr(at_server, "find", lambda _: opened.found)

        async def serve() -> None:
            serving = asyncio.create_task(ChatDoor(turns).serve(listener))
            await asyncio.to_thread(opened.close.wait)
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

        thread = threading.Thread(target=asyncio.run, args=(serve(),))
        thread.start()
        wait_until(lambda: _listens(opened.found))
        try:
            yield opened
        finally:
            opened.close.set()
            thread.join()


def _listens(found: Found) -> bool:
    try:
        Connection(found.socket).close()
    except OSError:
        return False
    return True


def shown_by(conversation: Any, text: str) -> tuple[Told, str, str]:
    out, err = io.StringIO(), io.StringIO()
    told = conversation.answer(text, shown=Terminal(out, err))
    return told, out.getvalue(), err.getvalue()


@contextmanager
def at_door(session: str = "s", recall: int = 0) -> Iterator[ServerChat]:
    with open_at_server(None, session, recall=recall) as conversation:
        assert conversation is not None
        yield conversation


def here(opened: Opened, url: str, session: str) -> tuple[Told, str, str]:
    """The turn in a process of its own."""
    with HttpModelClient(url) as client:
        agent = Agent(client, InProcess(), AllTools(), LoopConfig(), PromptConfig())
        held = Session(session, opened.log, opened.folder, history_turns=6)
        commands = ChatCommands(held, TOOLS, lambda: active.read(opened.folder), "http://here/ui")
        return shown_by(Chat(agent, held, ToolRegistry(TOOLS), commands), "1 + 2?")


def test_a_turn_is_shown_told_and_logged_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ModelServer(*REPLIES, *REPLIES) as server, door(tmp_path, server, monkeypatch) as opened:
        with at_door("there") as conversation:
            told, out, err = shown_by(conversation, "1 + 2?")
        own, own_out, own_err = here(opened, opened.found.gateway_url, "here")
        assert (out, err) == (own_out, own_err)
        assert "→ add(a=1, b=2)\n→ add that does not parse" in err
        same = ("answer", "calls", "stop_reason", "error", "usage", "adapter")
        assert [told.turn[name] for name in same] == [own.turn[name] for name in same]
        assert told.answered and told.turn["session"] == "there"
        first, second = opened.log.read()
        assert told.turn["id"] == first.id
        assert (first.source, first.owner, first.tenant) == (second.source, second.owner, second.tenant)
        assert first.source == "chat"
        assert first.tool_schemas == second.tool_schemas
        assert first.trajectory.tools == second.trajectory.tools
        assert first.trajectory.messages[0] == second.trajectory.messages[0]
        assert {headers.get("x-apprentice-log") for headers in server.headers} <= {None, "no"}


def test_turns_of_a_session_follow_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ModelServer(Says("Hello."), Says("Ada.")) as server, door(tmp_path, server, monkeypatch) as opened:
        with at_door(recall=10) as conversation:
            assert conversation.requests_before(10) == []
            assert conversation.left_out() == []
            for text in ("I am Ada.", "Who am I?"):
                shown_by(conversation, text)
        assert [m.content for m in opened.log.read()[1].trajectory.history] == ["I am Ada.", "Hello."]
        with at_door("other", recall=1) as conversation:
            assert conversation.requests_before(10) == ["Who am I?"]


def test_a_model_that_is_away_is_the_same_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replies = [Says("starting; try again", status=503)] * 9
    with ModelServer(*replies) as server, door(tmp_path, server, monkeypatch) as opened:
        with at_door() as conversation, pytest.raises(UserError) as there:
            shown_by(conversation, "hi")
        with pytest.raises(UserError) as own:
            here(opened, opened.found.gateway_url, "here")
        assert str(there.value) == str(own.value)
        errors = [row.trajectory.error for row in opened.log.read()]
        assert errors[0] == errors[1]


def test_a_refused_request_is_a_failed_turn_without_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replies = [Says("too long", status=400)] * 9
    with ModelServer(*replies) as server, door(tmp_path, server, monkeypatch), at_door() as conversation:
        told, out, _ = shown_by(conversation, "hi")
    assert (told.answered, out, told.turn["stop_reason"]) == (False, "", "failed")
    assert "too long" in told.summary


def test_no_conversation_where_the_key_is_wrong_or_there_is_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ModelServer() as server, door(tmp_path, server, monkeypatch) as opened:
        monkeypatch.setattr(AgentTurns, "full", True)
        with open_at_server(None, "s", recall=0) as conversation:
            assert conversation is None
        monkeypatch.setattr(AgentTurns, "full", False)
        opened.found = opened.found._replace(key="guessed")
        with open_at_server(None, "s", recall=0) as conversation:
            assert conversation is None
        opened.found = opened.found._replace(socket=str(tmp_path / "nothing"))
        with open_at_server(None, "s", recall=0) as conversation:
            assert conversation is None


def test_a_session_that_is_no_name_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        ModelServer() as server,
        door(tmp_path, server, monkeypatch),
        pytest.raises(UserError, match="is no session name"),
        open_at_server(None, "../x", recall=0),
    ):
        pass


class Doing(Terminal):
    """A terminal that does something at the first piece of an answer."""

    def __init__(self, what: Callable[[], None]) -> None:
        super().__init__(io.StringIO(), io.StringIO())
        self._what = what

    def token(self, text: str) -> None:
        self._what()


def interrupt() -> None:
    raise KeyboardInterrupt


def test_a_turn_ends_when_its_client_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    going_on = threading.Event()
    with (
        ModelServer(Says("One, and so on.", linger=going_on), Says("Two.")) as server,
        door(tmp_path, server, monkeypatch) as opened,
        at_door(recall=1) as conversation,
    ):
        with pytest.raises(KeyboardInterrupt):
            conversation.answer("one", shown=Doing(interrupt))
        wait_until(lambda: opened.turns.running == 0)
        going_on.set()
        assert shown_by(conversation, "two")[1] == "Two.\n"
        wait_until(lambda: len(opened.log.read()) == 2)
        assert sorted(row.trajectory.stop_reason for row in opened.log.read()) == ["answered", "failed"]


def test_a_door_that_closes_in_the_middle_of_an_answer_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    going_on = threading.Event()
    with (
        ModelServer(Says("One, and so on.", linger=going_on)) as server,
        door(tmp_path, server, monkeypatch) as opened,
        at_door() as conversation,
    ):
        with pytest.raises(ModelUnavailable, match=r"^the server went away while answering; ask again$"):
            conversation.answer("one", shown=Doing(opened.close.set))
        going_on.set()
