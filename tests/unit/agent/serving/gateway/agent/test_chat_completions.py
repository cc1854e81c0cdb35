"""The agent itself behind the model name ``apprentice``."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI

from agent.config import AgentConfig, GatewayConfig, LoopConfig
from agent.log.interaction_log import InteractionLog
from agent.serving.gateway.access import api_keys
from agent.serving.gateway.agent import turns as agent_turns
from agent.serving.gateway.agent.text import spoken
from agent.serving.gateway.app import Gateway
from tests.fakes.agent_gateway import Tooled, running_agent
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.waiting import wait_until

SUM = Says("Let me see.", calls=[("add", '{"a": 1, "b": 2}')])


class Door:
    def __init__(self, gateway: Gateway, url: str, server: ModelServer, log: InteractionLog, tools: Tooled) -> None:
        self.gateway, self.url, self.server, self.log, self.tools = gateway, url, server, log, tools
        self.client = httpx.Client(base_url=url, trust_env=False, timeout=60)

    def says(self, *replies: Says) -> None:
        self.server._replies = list(replies)

    def ask(self, *messages: dict[str, Any] | str, **body: Any) -> httpx.Response:
        headers = body.pop("headers", {})
        said = [{"role": "user", "content": one} if isinstance(one, str) else one for one in messages]
        return self.client.post(
            "/v1/chat/completions", json={"model": "apprentice", "messages": said, **body}, headers=headers
        )

    def stream(self, text: str, **body: Any) -> list[dict[str, Any]]:
        lines = self.ask(text, stream=True, **body).text.split("\n\n")
        assert lines[-2:] == ["data: [DONE]", ""]
        return [json.loads(line.removeprefix("data: ")) for line in lines[:-2] if not line.startswith(":")]


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with (
        ModelServer() as server,
        InteractionLog(tmp_path / "interactions.db") as log,
        running_agent(tmp_path, server, log) as (gateway, url, tools),
    ):
        opened = Door(gateway, url, server, log, tools)
        with opened.client:
            yield opened


def text_of(chunks: list[dict[str, Any]]) -> str:
    return "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])


def test_it_is_listed_beside_the_pass_through(door: Door) -> None:
    models = [model["id"] for model in door.client.get("/v1/models").json()["data"]]
    assert models[:2] == ["agent", "apprentice"]
    assert door.client.get("/v1/models/apprentice").status_code == 200


def test_the_agent_calls_its_own_tools_and_answers(door: Door) -> None:
    door.says(SUM, Says("It is 3."))
    answer = door.ask("1 + 2?").json()
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "It is 3."}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert door.tools.ran == [("add", {"a": 1, "b": 2})]
    told = answer["apprentice"]
    assert [(call["name"], json.loads(call["arguments"])) for call in told["calls"]] == [("add", {"a": 1, "b": 2})]
    assert [result["output"] for result in told["results"]] == ["3"]
    assert answer["usage"] == {"prompt_tokens": 20, "completion_tokens": 6, "total_tokens": 26}
    assert [tool["function"]["name"] for tool in door.server.requests[0]["tools"]] == ["add", "square", "count"]


def test_a_turn_is_logged_once_and_whole_and_takes_feedback_by_the_id_of_the_answer(door: Door) -> None:
    door.says(SUM, Says("It is 3."))
    answer = door.ask("1 + 2?").json()
    (logged,) = door.log.read()
    assert (logged.source, logged.reference) == ("apprentice", answer["id"])
    assert logged.session == answer["apprentice"]["session"]
    assert [message.role for message in logged.trajectory.messages] == ["user", "assistant", "tool", "assistant"]
    assert logged.trajectory.results[0].value == 3
    assert len(logged.tool_schemas) == 3
    said = door.client.post("/v1/feedback", json={"id": answer["id"], "verdict": "good"})
    assert said.json() == {"id": logged.id, "verdict": "good"}


def test_calls_and_results_are_streamed_as_lines_before_the_answer(door: Door) -> None:
    door.says(SUM, Says("It is 3."))
    chunks = door.stream("1 + 2?", stream_options={"include_usage": True})
    assert text_of(chunks) == "Let me see.\n\n> → add(a=1, b=2)  \n> ← 3  \n\nIt is 3."
    assert spoken(text_of(chunks)).split() == ["Let", "me", "see.", "It", "is", "3."]
    told = [chunk["apprentice"] for chunk in chunks if "apprentice" in chunk]
    assert told[0]["call"]["name"] == "add"
    assert told[1]["result"] == {"id": told[0]["call"]["id"], "name": "add", "output": "3", "ok": True}
    assert (chunks[-1]["choices"], chunks[-1]["usage"]["total_tokens"]) == ([], 26)
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"


def test_the_call_is_there_before_its_result(door: Door) -> None:
    began, go_on = threading.Event(), threading.Event()

    def add(a: int, b: int) -> int:
        began.set()
        assert go_on.wait(30)
        return a + b

    door.tools.functions["add"] = add
    door.says(SUM, Says("It is 3."))
    body = {"model": "apprentice", "stream": True, "messages": [{"role": "user", "content": "1 + 2?"}]}
    with door.client.stream("POST", "/v1/chat/completions", json=body) as answer:
        seen = ""
        for line in answer.iter_lines():
            seen += line
            if "→ add" in line:
                assert began.wait(30)
                assert "←" not in seen
                go_on.set()
    assert "←" in seen


def test_long_work_shows_that_it_goes_on(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_turns, "SIGN_OF_LIFE_SECONDS", 0.05)
    wait = threading.Event()
    door.says(Says("Hello.", wait=wait))
    body = {"model": "apprentice", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    with door.client.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = answer.iter_lines()
        assert next(line for line in lines if line.startswith(":")) == ": at work"
        wait.set()
        assert "data: [DONE]" in list(lines)


def test_a_conversation_goes_on_in_its_session_without_the_lines_of_calls(door: Door) -> None:
    door.says(SUM, Says("It is 3."), Says("Nine."))
    first = text_of(door.stream("1 + 2?"))
    door.ask("1 + 2?", {"role": "assistant", "content": first}, "squared?")
    one, other = door.log.read()
    assert one.session == other.session
    asked = door.server.requests[-1]["messages"]
    assert [message["role"] for message in asked] == ["user", "assistant", "user"]
    assert asked[1]["content"].split() == ["Let", "me", "see.", "It", "is", "3."]


def test_conversations_that_went_alike_share_no_session(door: Door) -> None:
    hello = {"role": "assistant", "content": "Hello."}
    door.says(*[Says("Hello.")] * 4)
    for _ in range(2):
        door.ask("hi")
    for _ in range(2):
        door.ask("hi", hello, "and?")
    assert len({logged.session for logged in door.log.read()}) == 4


def test_a_named_session_goes_on_from_the_log_with_its_calls(door: Door) -> None:
    door.says(SUM, Says("It is 3."), Says("Nine."))
    named = {"x-apprentice-session": "sums"}
    door.ask("1 + 2?", headers=named)
    assert door.ask("squared?", headers=named).json()["apprentice"]["session"] == "sums"
    asked = door.server.requests[-1]["messages"]
    assert [message["role"] for message in asked] == ["user", "assistant", "tool", "assistant", "user"]


def test_a_session_has_one_workspace_that_no_other_key_reaches(tmp_path: Path) -> None:
    keys = [api_keys.create(tmp_path, name, ["chat"], "") for name in ("alice", "bob")]
    replies = [Says(calls=[("count", "{}")]), Says("done")]
    with (
        ModelServer(*replies * 3) as server,
        InteractionLog(tmp_path / "interactions.db") as log,
        running_agent(tmp_path, server, log, GatewayConfig(require_key=True)) as (_, url, tools),
        httpx.Client(base_url=url, trust_env=False, timeout=60) as client,
    ):
        body = {"model": "apprentice", "messages": [{"role": "user", "content": "count"}]}
        for key in (keys[0], keys[0], keys[1]):
            headers = {"authorization": f"Bearer {key}", "x-apprentice-session": "mine"}
            assert client.post("/v1/chat/completions", json=body, headers=headers).status_code == 200
        assert client.post("/v1/chat/completions", json=body).status_code == 401
        assert [logged.owner for logged in log.read()] == ["alice", "alice", "bob"]
        histories = [len(logged.trajectory.history) for logged in log.read()]
    assert histories[0] == histories[2] == 0 < histories[1]
    folder = tmp_path / "workspaces"
    assert tools.workspaces == [folder / "alice~mine", folder / "alice~mine", folder / "bob~mine"]


def test_a_session_name_that_could_leave_its_folder_is_refused(door: Door) -> None:
    answer = door.ask("hi", headers={"x-apprentice-session": "../up"})
    assert answer.status_code == 400
    assert "session name" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "own"}}]}, "tools"),
        ({"n": 2}, "n"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"logprobs": True}, "logprobs"),
    ],
)
def test_what_the_agent_cannot_follow_is_refused_by_name(door: Door, body: dict[str, Any], param: str) -> None:
    answer = door.ask("hi", **body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert door.server.requests == []


def test_a_request_must_end_with_a_word_of_the_user(door: Door) -> None:
    answer = door.ask("hi", {"role": "assistant", "content": "Hello."})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "messages[1]")


def test_the_limits_of_a_turn_hold(tmp_path: Path) -> None:
    limits = AgentConfig(loop=LoopConfig(max_steps=1))
    with (
        ModelServer(SUM, SUM) as server,
        InteractionLog(tmp_path / "interactions.db") as log,
        running_agent(tmp_path, server, log, agent=limits) as (gateway, url, tools),
    ):
        door = Door(gateway, url, server, log, tools)
        chunks = door.stream("1 + 2?")
        whole = door.ask("1 + 2?").json()
        door.client.close()
    assert text_of(chunks).endswith("> ■ stopped: step limit  \n")
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert (whole["choices"][0]["finish_reason"], whole["apprentice"]["stop_reason"]) == ("length", "step_limit")


def test_a_turn_that_fails_is_an_error_and_is_logged_as_one(door: Door) -> None:
    door.says(Says("too long", status=400), Says("too long", status=400))
    answer = door.ask("hi")
    assert (answer.status_code, "too long" in answer.json()["error"]["message"]) == (400, True)
    assert "too long" in door.stream("hi")[-1]["error"]["message"]
    assert [logged.trajectory.stop_reason for logged in door.log.read()] == ["failed", "failed"]


def test_without_a_model_server_it_says_so_at_once(door: Door) -> None:
    door.gateway.pool.replace([])
    assert door.ask("hi", stream=True).status_code == 503


def test_a_turn_ends_when_its_client_leaves(door: Door) -> None:
    wait = threading.Event()
    door.says(Says("A long story.", pause=wait))
    body = {"model": "apprentice", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    with door.client.stream("POST", "/v1/chat/completions", json=body) as answer:
        next(answer.iter_lines())
    assert door.gateway.agent is not None
    turns = door.gateway.agent.turns
    wait_until(lambda: turns.running == 0)
    wait.set()
    wait_until(lambda: door.log.read() != [])
    assert door.log.read()[0].trajectory.error.startswith("ClientLeft")


def test_a_client_that_leaves_as_a_piece_comes_is_not_waited_for() -> None:
    async def leave_as_a_piece_comes() -> bool:
        events: asyncio.Queue[agent_turns.Event | BaseException] = asyncio.Queue()

        async def read() -> None:
            async for _ in agent_turns.until_the_end(events):
                pass

        reading = asyncio.create_task(read())
        await asyncio.sleep(0.05)
        events.put_nowait("A piece.")
        reading.cancel()
        await asyncio.wait({reading}, timeout=5)
        return reading.cancelled()

    assert asyncio.run(leave_as_a_piece_comes())


def test_more_turns_than_may_wait_are_told_to_come_back(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_turns, "AT_ONCE", 0)
    monkeypatch.setattr(agent_turns, "WAITING", 0)
    answer = door.ask("hi")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "6")


def test_a_turn_that_must_not_be_logged_is_not(door: Door) -> None:
    door.says(Says("Hello."))
    assert door.ask("hi", headers={"x-apprentice-log": "no"}).status_code == 200
    assert door.log.read() == []


def test_the_adapter_of_the_session_answers_the_whole_turn(door: Door) -> None:
    door.says(SUM, Says("It is 3."))
    assert door.ask("1 + 2?").headers["x-apprentice-adapter"] == "base"
    assert [request["model"] for request in door.server.requests] == ["base", "base"]


@pytest.mark.filterwarnings("ignore")
def test_the_official_client_reads_both_forms(door: Door) -> None:
    door.says(SUM, Says("It is 3."), SUM, Says("It is 3."))
    asked: dict[str, Any] = {"model": "apprentice", "messages": [{"role": "user", "content": "1 + 2?"}]}
    with OpenAI(base_url=f"{door.url}/v1", api_key="none", max_retries=0) as client:
        assert client.chat.completions.create(**asked).choices[0].message.content == "It is 3."
        with client.chat.completions.stream(**asked) as events:
            streamed = events.get_final_completion().choices[0].message.content
    assert streamed is not None
    assert streamed.endswith("> ← 3  \n\nIt is 3.")
