"""What a person says would have been right."""

import json
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.cli import main
from agent.config import Config
from agent.log import corrections
from agent.log.corrections import NoSuchCall, OwnTools, OwnToolsSource, checked, own_tools
from agent.log.entries import COMPLETIONS_SOURCE
from agent.log.interaction_log import InteractionLog
from tests.fakes.evolution import turn
from tests.fakes.model_gateway import KEY, running_gateway
from tests.fakes.model_server import ModelServer
from toolkit.config import ToolkitConfig
from toolkit.errors import UserError
from toolkit.registry import ToolRegistry
from toolkit.sources import load_local_tools

CALL = {"name": "box_count", "arguments": {"eggs": 7}}


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("  It is 7.  ", "It is 7."),
        ("", ""),
        (json.dumps(CALL), json.dumps([CALL])),
        (json.dumps([CALL, CALL]), json.dumps([CALL, CALL])),
    ],
)
def test_calls_become_a_list_and_a_text_stays(text: str, stored: str) -> None:
    assert checked(text) == stored


@pytest.mark.parametrize(
    "text", ["[", "[]", "[1]", '{"name": "x"}', '{"name": 1, "arguments": {}}', '[{"name": "x", "arguments": []}]']
)
def test_json_that_holds_no_call_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(UserError, match="arguments"):
        checked(text)


def test_the_command_keeps_it_with_the_feedback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config.toml"
    config.write_text('data_folder = "data"\n')
    with InteractionLog(tmp_path / "data" / "interactions.db") as log:
        shown = {"type": "function", "function": {"name": "box_count", "parameters": {}}}
        identity = log.append(turn("how many boxes?"), session="s", source="chat", tool_schemas=[shown])

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["agent", "feedback", identity, *arguments, "--config", str(config)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    assert run("bad", "--expected", json.dumps(CALL)) == 0
    assert run("good", "--expected", "x") == 2
    with InteractionLog(tmp_path / "data" / "interactions.db") as log:
        (found,) = log.read()
    assert [word.expected for word in found.feedback] == [json.dumps([CALL])]


def test_the_gateway_keeps_it_with_the_feedback(tmp_path: Path) -> None:
    with InteractionLog(tmp_path / "interactions.db") as log, ModelServer(key=KEY) as server:
        identity = log.append(turn("how many boxes?"), session="s", source="gateway")
        with running_gateway(tmp_path, server, log) as (_, url):

            def say(**word: Any) -> int:
                return httpx.post(f"{url}/v1/feedback", json={"id": identity, **word}, trust_env=False).status_code

            assert say(verdict="bad", expected=[CALL]) == 200
            assert say(verdict="bad", expected="It is 2.") == 200
            assert say(verdict="bad", expected=[]) == 400
            assert say(verdict="bad", expected=[1]) == 400
            assert say(verdict="bad", expected="x" * 10_001) == 400
            assert say(verdict="good", expected=[CALL]) == 400
            assert say(verdict="bad", expected={"a": 1}) == 400
        (found,) = log.read()
    assert [word.expected for word in found.feedback] == [json.dumps([CALL]), "It is 2."]


SHIPPING = {
    "type": "function",
    "function": {
        "name": "shipping_days",
        "description": "Days that a parcel takes.",
        "parameters": {"type": "object", "properties": {"country": {"type": "string"}}, "required": ["country"]},
    },
}
WRONG = {
    '[{"name": "no_such_tool", "arguments": {}}]': "there is no tool named no_such_tool; the turn was shown "
    "shipping_days; see this machine's with: toolkit list",
    '[{"name": "shiping_days", "arguments": {}}]': "there is no tool named shiping_days; did you mean shipping_days?",
    '[{"name": "days_between_date", "arguments": {}}]': "there is no tool named days_between_date; "
    "did you mean days_between_dates or add_days_to_date?",
    '[{"name": "shipping_days", "arguments": {}}]': "shipping_days: 'country' is required; add it",
    '[{"name": "shipping_days", "arguments": {"country": "Norway", "contry": "x"}}]': "shipping_days: unknown argument "
    "contry; did you mean country? allowed: country",
    '[{"name": "shipping_days", "arguments": {"country": 4}}]': "shipping_days: 'country' must be string, got 4; "
    "write it in double quotes",
    '[{"name": "count_words", "arguments": {"txt": "a"}}]': "count_words: unknown argument txt; did you mean text? "
    "allowed: text",
    '[{"name": "count_words", "arguments": {"text": "a"}}, {"name": "count_words", "arguments": {}}]': "count_words: "
    "'text' is required; add it",
}
RIGHT = [
    '[{"name": "shipping_days", "arguments": {"country": "Norway"}}]',
    '[{"name": "count_words", "arguments": {"text": "a"}}]',
    "It takes 3 days.",
]


def asked(log: InteractionLog, source: str = "gateway", *calls: Any, schemas: tuple[Any, ...] = (SHIPPING,)) -> str:
    return log.append(turn("how long to Norway?", *calls), session="s", source=source, tool_schemas=schemas)


def of_machine(folder: Path, config: str = "") -> Config:
    (folder / "config.toml").write_text(f'data_folder = "data"\n{config}')
    return Config(data_folder=folder / "data")


def said_of(log: InteractionLog) -> list[str]:
    return [word.expected for one in log.read() for word in one.feedback]


@pytest.mark.parametrize("expected", WRONG)
def test_a_call_that_cannot_be_made_is_refused_with_the_nearest_name(tmp_path: Path, expected: str) -> None:
    with InteractionLog.of(of_machine(tmp_path)) as log:
        identity = asked(log)
        with pytest.raises(NoSuchCall) as refused:
            log.feedback(identity, "bad", expected=checked(expected))
        assert str(refused.value) == WRONG[expected]
        assert said_of(log) == []


@pytest.mark.parametrize("expected", RIGHT)
def test_tools_that_the_turn_was_shown_and_those_of_this_machine_are_known(tmp_path: Path, expected: str) -> None:
    with InteractionLog.of(of_machine(tmp_path)) as log:
        log.feedback(asked(log), "bad", expected=checked(expected))
        assert said_of(log) == [checked(expected)]


def test_what_cannot_be_known_is_accepted(tmp_path: Path) -> None:
    unknown = checked('{"name": "no_such_tool", "arguments": {}}')
    registry = load_local_tools(ToolkitConfig())
    with InteractionLog(tmp_path / "a.db") as log:  # nobody says which tools this machine has
        log.feedback(asked(log), "bad", expected=unknown)
    with InteractionLog(tmp_path / "b.db", own_tools=lambda: OwnTools(registry, all_known=False)) as log:
        log.feedback(asked(log), "bad", expected=unknown)  # a server with tools is down
        with pytest.raises(NoSuchCall):
            log.feedback(asked(log), "bad", expected=checked('{"name": "count_words", "arguments": {}}'))
    with InteractionLog(tmp_path / "c.db", own_tools=lambda: OwnTools(registry, all_known=True)) as log:
        log.feedback(asked(log, COMPLETIONS_SOURCE), "bad", expected=unknown)
        imported = asked(log, "import:openai", ("look_up", {"word": "a"}, "b"), schemas=())
        log.feedback(imported, "bad", expected=unknown)  # an export without the tools of its turns
        with pytest.raises(NoSuchCall):
            log.feedback(asked(log, "import:openai", schemas=()), "bad", expected=unknown)
        assert len(said_of(log)) == 2


def test_a_tool_server_that_is_down_may_have_any_tool(tmp_path: Path) -> None:
    entry = {"command": (sys.executable, "-c", ""), "timeout_seconds": 20}
    found = own_tools(ToolkitConfig.model_validate({"tools": {"builtin": False}, "mcp": {"gone": entry}}))
    assert (len(found.tools), found.all_known) == (0, False)
    assert own_tools(ToolkitConfig()).all_known


def test_the_tools_of_this_machine_are_asked_for_only_where_none_was_shown(tmp_path: Path) -> None:
    asked_for: list[int] = []

    def own() -> OwnTools:
        asked_for.append(1)
        return OwnTools(ToolRegistry(), all_known=True)

    with InteractionLog(tmp_path / "a.db", own_tools=own) as log:
        log.feedback(asked(log), "bad", expected=RIGHT[0])
        assert asked_for == []
        with pytest.raises(NoSuchCall):
            log.feedback(asked(log), "bad", expected=RIGHT[1])
        assert asked_for == [1]


def test_the_command_and_the_gateway_refuse_such_a_call_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = next(iter(WRONG))
    config = of_machine(tmp_path)
    with InteractionLog.of(config) as log, ModelServer(key=KEY) as server:
        identity = asked(log)
        words = ["agent", "feedback", identity, "bad", "--expected", wrong, "--config", str(tmp_path / "config.toml")]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        assert capsys.readouterr().err == f"agent: {WRONG[wrong]}\n"
        with running_gateway(config.data_folder, server, log) as (_, url):
            word = {"id": identity, "verdict": "bad", "expected": json.loads(wrong)}
            answer = httpx.post(f"{url}/v1/feedback", json=word, trust_env=False)
        assert (answer.status_code, answer.json()["error"]["message"]) == (400, WRONG[wrong])
        assert answer.json()["error"]["param"] == "expected"
        assert said_of(log) == []


def test_this_machines_tools_are_loaded_at_most_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = iter([OwnTools(ToolRegistry(), all_known=True), OwnTools(ToolRegistry(), all_known=False)])
    monkeypatch.setattr(corrections, "own_tools", lambda config: next(loads))
    seconds = 0.0
    known = OwnToolsSource(ToolkitConfig(), now=lambda: seconds)
    assert known().all_known
    seconds = 59.0
    assert known().all_known
    seconds = 61.0
    assert not known().all_known
