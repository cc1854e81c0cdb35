"""What a person says would have been right."""

import json
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.cli import main
from agent.log.corrections import checked
from agent.log.interaction_log import InteractionLog
from tests.fakes.evolution import turn
from tests.fakes.model_gateway import KEY, running_gateway
from tests.fakes.model_server import ModelServer
from toolkit.errors import UserError

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
        identity = log.append(turn("how many boxes?"), session="s", source="chat")

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
