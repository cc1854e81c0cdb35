"""Named conversations."""

from pathlib import Path

import pytest

from agent.errors import StorageError
from agent.log.interaction_log import InteractionLog
from agent.log.session import Session
from agent.log.session_name import new_name
from agent.turn.messages import Message, Sampling, StopReason, Trajectory
from tests.fakes.model_tools import ADD, COUNT, TOOLS
from toolkit.errors import UserError


def turn(text: str, stop_reason: StopReason = "answered", history: tuple[Message, ...] = ()) -> Trajectory:
    return Trajectory(
        history=history,
        messages=(Message(role="user", content=text), Message(role="assistant", content=text.upper())),
        tools=("count", "add"),
        adapter="base",
        prompt_version="v",
        sampling=Sampling(),
        stop_reason=stop_reason,
    )


def texts(session: Session) -> list[str]:
    return [message.content for message in session.history() if message.role == "user"]


def test_a_session_goes_on_where_it_ended(tmp_path: Path) -> None:
    with InteractionLog(tmp_path / "log.db") as log:
        first = Session("work", log, tmp_path, history_turns=2)
        assert first.history() == ()
        for text in ("one", "two", "three"):
            first.record(turn(text, history=first.history()), TOOLS)
        Session("play", log, tmp_path, history_turns=2).record(turn("other"), TOOLS)
    with InteractionLog(tmp_path / "log.db") as log:
        again = Session("work", log, tmp_path, history_turns=2)
        assert [m.content for m in again.history()] == ["two", "TWO", "three", "THREE"]
        assert texts(Session("play", log, tmp_path, history_turns=2)) == ["other"]
        assert Session("work", log, tmp_path, history_turns=0).history() == ()


def test_failed_turns_are_logged_but_not_gone_on_with(tmp_path: Path) -> None:
    with InteractionLog(tmp_path / "log.db") as log:
        session = Session("work", log, tmp_path, history_turns=5)
        session.record(turn("one"), TOOLS)
        session.record(turn("two", "failed"), TOOLS)
        session.record(turn("three", "step_limit"), TOOLS)
        assert texts(session) == ["one", "three"]
        assert len(log.read()) == 3


def test_history_leaves_room_for_what_is_asked_now(tmp_path: Path) -> None:
    with InteractionLog(tmp_path / "log.db") as log:
        session = Session("work", log, tmp_path, history_turns=9, history_characters=20)
        for text in ("x" * 50, "four", "5five"):
            session.record(turn(text), TOOLS)
        assert texts(session) == ["four", "5five"]
        session.record(turn("y" * 50), TOOLS)
        assert texts(session) == []


def test_schemas_are_those_that_were_shown_in_their_order(tmp_path: Path) -> None:
    with InteractionLog(tmp_path / "log.db") as log:
        identity = Session("work", log, tmp_path, history_turns=1).record(turn("one"), TOOLS)
        (found,) = log.read()
    assert found.id == identity
    assert found.tool_schemas == (COUNT.schema(), ADD.schema())


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc", ".hidden", "-x", "a\n", "x" * 65, "a b", "ä", "a\0"]
)
def test_names_that_could_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    with InteractionLog(tmp_path / "log.db") as log, pytest.raises(UserError, match="is no session name; use letters"):
        Session(name, log, tmp_path, history_turns=1)
    assert [file.name for file in tmp_path.iterdir() if file.is_dir()] == []


def test_each_session_has_a_workspace_and_leaves_no_empty_one(tmp_path: Path) -> None:
    with InteractionLog(tmp_path / "log.db") as log:
        used, unused = (Session(name, log, tmp_path, history_turns=1) for name in ("used", "unused"))
        assert used.workspace == tmp_path / "workspaces" / "used"
        (used.workspace / "notes.json").write_text("[]")
        used.close()
        unused.close()
    assert [folder.name for folder in (tmp_path / "workspaces").iterdir()] == ["used"]


def test_a_workspace_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "workspaces").write_text("in the way")
    with InteractionLog(tmp_path / "log.db") as log, pytest.raises(StorageError, match="check that folder"):
        Session("work", log, tmp_path, history_turns=1)


def test_made_up_names_are_valid(tmp_path: Path) -> None:
    with InteractionLog(tmp_path / "log.db") as log:
        assert Session(new_name(0.0), log, tmp_path, history_turns=1).name.startswith("chat-19")


def test_conversations_that_begin_in_the_same_second_have_names_of_their_own() -> None:
    assert len({new_name(0.0) for _ in range(20)}) > 15
