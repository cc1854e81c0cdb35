"""``agent chat`` at a running server: what people see and what is logged is the same as in a process of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.chat import at_server
from agent.serving import serving_state
from tests.fakes.agent_house import House
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.waiting import wait_until

OWN = "from agent.commands import app; from toolkit.command import run_command; run_command(app, 'agent')"
"""The command without the way to the server."""
HEAVY = ("numpy", "onnxruntime", "pydantic", "httpx", "typer", "sqlite3", "toolkit.sandbox", "dataclasses", "ssl")
MODULES = f"""
import atexit, sys
from agent.cli import main
atexit.register(lambda: print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr))
main()
"""
MINE = 'from toolkit.declare import tool\n\n\n@tool(effect="pure")\ndef days(country: str) -> int:\n    """Days."""\n'


def asked(house: House, *arguments: str, code: str = "", said: str | None = None) -> "subprocess.CompletedProcess[str]":
    """Run ``agent ARGUMENTS``, or ``code`` in its place; ``said`` is typed."""
    command = house.command(*arguments)
    if code:
        command = [sys.executable, "-P", "-c", code, *command[4:]]
    return subprocess.run(
        command, env=house.environment, input=said, capture_output=True, text=True, timeout=300, check=False
    )


def ways(house: House, *arguments: str, said: str | None = None) -> list["subprocess.CompletedProcess[str]"]:
    """The same command at the server and in a process of its own; the first had no heavy module."""
    light, own = (asked(house, *arguments, code=code, said=said) for code in (MODULES, OWN))
    *shown, modules = light.stderr.splitlines(keepends=True)
    assert modules == "[]\n", light.stderr
    light.stderr = "".join(shown)
    return [light, own]


def alike(text: str) -> str:
    """``text`` without what differs from turn to turn: ids, seconds and the names of sessions."""
    text = re.sub(r"[0-9a-f]{12}-[0-9a-f]{4}", "ID", text)
    text = re.sub(r"chat-\d{8}-\d{6}-[0-9a-f]{4}", "SESSION", text)
    return re.sub(r'\d+\.\d s\b|"latency_ms": [\d.]+', "SECONDS", text)


def rows(house: House, number: int) -> list[dict[str, Any]]:
    """The newest turns of the log, without what differs from turn to turn."""
    found = json.loads(house.agent("log", "--limit", str(number), "--json").stdout)
    for row in found:
        for name in ("id", "created_at"):
            del row[name]
        for name in ("latency_ms", "step_ms"):
            del row["trajectory"][name]
        for message in row["trajectory"]["messages"]:
            if message["tool_result"]:
                del message["tool_result"]["duration_ms"]
    return found


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("house"))
    started = house.agent("serve", "--detach")
    assert started.returncode == 0, started.stderr
    yield house
    assert house.agent("stop").returncode == 0


@pytest.mark.parametrize(
    ("message", "form"), [("calculate 6 * 7", ()), ("calculate 1 / 0", ("--json",)), ("\x1b[2Jevil", ())]
)
def test_one_turn_is_shown_and_logged_alike(house: House, message: str, form: tuple[str, ...]) -> None:
    light, own = ways(house, "chat", "--message", message, *form)
    assert (light.returncode, alike(light.stdout), alike(light.stderr)) == (
        own.returncode,
        alike(own.stdout),
        alike(own.stderr),
    )
    assert light.returncode == 0
    first, second = rows(house, 2)
    assert first.pop("session") != ""
    second.pop("session")
    assert first == second
    assert (first["source"], first["owner"], first["tenant"]) == ("chat", "", "")


def test_a_session_goes_on_in_either_way_with_the_same_files(house: House) -> None:
    texts = ("I am Ada", "and now?", "and then?")
    for text, code in zip(texts, (MODULES, OWN, MODULES), strict=True):
        assert asked(house, "chat", "--session", "both", "--message", text, code=code).returncode == 0
    last = rows(house, 1)[0]
    assert last["session"] == "both"
    assert [m["content"] for m in last["trajectory"]["history"]][::2] == ["I am Ada", "and now?"]
    assert not [path for path in (house.data / "workspaces").glob("*") if "both" in path.name]  # nothing was written


def test_a_conversation_and_its_commands_are_alike(house: House) -> None:
    said = "hi\n/good thanks\n/tools\n/why\n/nonsense\n/etc/hosts?\n/bad\n/help\n"
    light, own = (asked(house, "chat", said=said, code=code) for code in ("", OWN))
    assert (light.returncode, alike(light.stdout), alike(light.stderr)) == (
        own.returncode,
        alike(own.stdout),
        alike(own.stderr),
    )
    assert "was good" in light.stderr
    assert "/nonsense is no command; see /help" in light.stderr
    words = [[(word["verdict"], word["note"]) for word in row["feedback"]] for row in rows(house, 4)]
    assert words == [[("good", "thanks")], [("bad", "")]] * 2


def test_the_door_is_its_owners_and_takes_one_key(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    found = at_server.find(house.config)
    assert found is not None
    assert Path(found.socket).parent.stat().st_mode & 0o077 == 0
    wrong = found._replace(key="guessed")
    monkeypatch.setattr(at_server, "find", lambda _: wrong)
    with at_server.open_at_server(house.config, "s", recall=0) as conversation:
        assert conversation is None


def test_a_name_that_is_none_is_the_same_line(house: House) -> None:
    shown = [asked(house, "chat", "--session", "no/name", "--message", "hi", code=code) for code in ("", OWN)]
    assert shown[0].stderr == shown[1].stderr
    assert [each.returncode for each in shown] == [2, 2]
    assert shown[0].stderr.count("\n") == 1


def test_another_text_that_says_the_same_of_the_agent_is_answered_by_the_server(house: House) -> None:
    text = house.config.read_text()
    try:
        house.config.write_text(f"# a remark\n{text}\n[evolver]\nrounds = 2\n")
        assert at_server.find(house.config) is not None
        house.config.write_text(f"{text}\n[agent.prompt]\ntools_in_prompt = 2\n")
        assert at_server.find(house.config) is None
        assert asked(house, "chat", "--message", "hi").stdout == "You said: hi\n"
    finally:
        house.config.write_text(text)
    assert at_server.find(house.config) is not None


def test_tools_that_were_changed_since_the_start_run_in_a_process_of_its_own(tmp_path: Path) -> None:
    house = House(tmp_path)
    mine = tmp_path / "my_tools.py"
    mine.write_text(MINE + "    return 3\n")
    text = house.config.read_text()
    house.config.write_text(text + '[toolkit.tools]\nmodules = ["my_tools"]\n')
    assert house.agent("serve", "--detach").returncode == 0
    try:
        assert at_server.find(house.config) is not None
        assert "module:my_tools: 1 tools: days" in asked(house, "chat", said="/tools\n").stderr
        mine.write_text(MINE.replace("days", "weeks") + "    return 3\n")
        assert at_server.find(house.config) is None
        assert "module:my_tools: 1 tools: weeks" in asked(house, "chat", said="/tools\n").stderr
        house.config.write_text(text)
        assert "my_tools" not in asked(house, "chat", said="/tools\n").stderr
    finally:
        house.agent("stop")


def test_ctrl_c_ends_an_answer_and_not_the_conversation(tmp_path: Path) -> None:
    with slow_server(tmp_path) as (house, ended):
        for code in ("", OWN):
            assert interrupted(house, "chat", "--message", "slow", code=code) == (130, SLOW, "")
            status, out, err = interrupted(house, "chat", code=code, then="quick\n")
            assert (status, out) == (0, f"{SLOW}\nquick\n")
            assert err.splitlines()[1] == "stopped"
        ended.set()
        wait_until(lambda: len(ends_of_turns(house)) == 6)
        assert sorted(ends_of_turns(house)) == ["answered"] * 2 + ["failed"] * 4


def test_a_server_that_dies_in_the_middle_of_an_answer_is_one_line(tmp_path: Path) -> None:
    with slow_server(tmp_path) as (house, _), talking(house, "chat", "--message", "slow") as chat:
        said = until_it_waits(chat)
        running = serving_state.read(house.data)
        assert running is not None
        os.kill(running.pid, signal.SIGKILL)
        out, err = chat.communicate(timeout=60)
    assert (said + out, err) == (SLOW, "agent: the server went away while answering; ask again\n")
    assert chat.returncode == 2


def test_a_conversation_goes_on_at_a_server_that_was_started_anew(tmp_path: Path) -> None:
    house = House(tmp_path)
    with house.serving(), talking(house, "chat") as chat:
        assert chat.stdin is not None and chat.stdout is not None
        chat.stdin.write("one\n")
        chat.stdin.flush()
        assert chat.stdout.readline() == "You said: one\n"
        assert house.agent("stop").returncode == 0
        chat.stdin.write("two\n")
        chat.stdin.flush()
        with house.serving():
            chat.stdin.write("three\n")
            out, err = chat.communicate(timeout=60)
    assert out.splitlines()[-1] == "You said: three"
    assert "no server is running; start it with: agent serve" in err or "You said: two" in out
    assert chat.returncode == 0


SLOW = "One, and so on."


@contextmanager
def slow_server(folder: Path) -> Iterator[tuple[House, threading.Event]]:
    """A server whose model does not end its answer to ``slow`` before the event."""
    ended = threading.Event()

    def script(request: dict[str, Any]) -> Says:
        return Says(SLOW, linger=ended) if request["messages"][-1]["content"] == "slow" else Says("quick")

    with ModelServer(script=script) as model:
        house = House(folder, upstreams=f'upstreams = [{{url = "{model.url}"}}]')
        with house.serving():
            wait_until(lambda: house.agent("chat", "--message", "hi").returncode == 0)
            yield house, ended
        ended.set()


@contextmanager
def talking(house: House, *arguments: str, code: str = "") -> Iterator["subprocess.Popen[str]"]:
    """A command that goes on while the test does."""
    command = house.command(*arguments)
    command = [sys.executable, "-P", "-c", code, *command[4:]] if code else command
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=house.environment, text=True, **pipes) as chat:  # type: ignore[call-overload]
        try:
            yield chat
        finally:
            chat.kill()


def until_it_waits(chat: "subprocess.Popen[str]") -> str:
    assert chat.stdout is not None
    said = os.read(chat.stdout.fileno(), 1000).decode()
    while said != SLOW:
        more = os.read(chat.stdout.fileno(), 1000).decode()
        assert more
        said += more
    return said


def ends_of_turns(house: House) -> list[str]:
    """How the turns of a test with ``slow_server`` ended."""
    turns = [row["trajectory"] for row in rows(house, 20)]
    return [turn["stop_reason"] for turn in turns if turn["messages"][0]["content"] in ("slow", "quick")]


def interrupted(house: House, *arguments: str, code: str, then: str = "") -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command that is sent Ctrl-C in the middle of its answer."""
    with talking(house, *arguments, code=code) as chat:
        assert chat.stdin is not None
        if then:
            chat.stdin.write("slow\n")
            chat.stdin.flush()
        said = until_it_waits(chat)
        chat.send_signal(signal.SIGINT)
        out, err = chat.communicate(then, timeout=60)
    return chat.returncode, said + out, err
