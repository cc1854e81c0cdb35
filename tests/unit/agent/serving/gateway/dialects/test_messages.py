"""Anthropic's Messages in front of chat completions, as the official client uses them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from anthropic import Anthropic, BadRequestError, NotFoundError

from agent.config import GatewayConfig
from agent.log.interaction_log import InteractionLog
from agent.serving.gateway.access import api_keys
from tests.fakes.dialect_door import DialectDoor, dialect_door
from tests.fakes.model_gateway import running_gateway
from tests.fakes.model_server import ModelServer, Says

pytestmark = pytest.mark.filterwarnings("ignore")  # of other people's packages

SCHEMA = {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}, "required": ["a", "b"]}
ADD: dict[str, Any] = {"name": "add", "description": "Add two numbers.", "input_schema": SCHEMA}
SUM = Says("Let me see.", calls=[("add", '{"a": 1, "b": 2}')])
HI: dict[str, Any] = {"role": "user", "content": "hi"}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DialectDoor]:
    with dialect_door(tmp_path_factory.mktemp("data")) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(door: DialectDoor) -> Iterator[Anthropic]:
    with Anthropic(base_url=door.url, api_key="none", max_retries=0, timeout=60) as opened:
        yield opened


def refused(door: DialectDoor, **body: Any) -> str:
    answer = door.client.post("/v1/messages", json={"model": "agent", "max_tokens": 50, "messages": [HI], **body})
    told = answer.json()
    assert (answer.status_code, told["type"], told["error"]["type"]) == (400, "error", "invalid_request_error")
    return told["error"]["message"]


def test_a_text_is_answered_and_logged_as_a_chat_is(door: DialectDoor, client: Anthropic) -> None:
    door.says(Says("Hello."))
    system: Any = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    answer = client.messages.create(model="agent", max_tokens=50, system=system, messages=[HI])
    assert [block.type for block in answer.content] == ["text"]
    assert answer.content[0].text == "Hello."  # type: ignore[union-attr]
    assert (answer.stop_reason, answer.usage.input_tokens, answer.usage.output_tokens) == ("end_turn", 10, 3)
    assert door.asked[0]["messages"] == [{"role": "system", "content": "Be brief."}, HI]
    (logged,) = door.logged(1)
    assert logged.trajectory.answer == "Hello."
    said = door.client.post("/v1/feedback", json={"id": answer.id, "verdict": "good"})
    assert said.json() == {"id": logged.id, "verdict": "good"}


@pytest.mark.parametrize("stream", [False, True])
def test_a_turn_with_a_tool_of_the_client(door: DialectDoor, client: Anthropic, stream: bool) -> None:
    door.says(SUM, Says("It is 3."))
    asked: dict[str, Any] = {"model": "agent", "max_tokens": 50, "tools": [ADD]}
    messages: list[Any] = [{"role": "user", "content": "1 + 2?"}]
    if stream:
        with client.messages.stream(**asked, messages=messages) as events:
            first = events.get_final_message()
    else:
        first = client.messages.create(**asked, messages=messages)
    assert first.stop_reason == "tool_use"
    assert [block.type for block in first.content] == ["text", "tool_use"]
    call: Any = first.content[1]
    assert (call.name, call.input) == ("add", {"a": 1, "b": 2})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "3"}]}
    messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    assert client.messages.create(**asked, messages=messages).content[0].text == "It is 3."  # type: ignore[union-attr]
    begun, ended = door.logged(2)
    assert ended.continues == begun.id
    assert ended.trajectory.results[0].value == 3


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_the_client_chose_by_name_stops_as_any_call_does(
    door: DialectDoor, client: Anthropic, stream: bool
) -> None:
    """vLLM ends such a call with the reason ``stop``."""
    door.says(Says(calls=SUM.calls, finish_reason="stop"))
    chosen: Any = {"type": "tool", "name": "add"}
    asked: dict[str, Any] = {
        "model": "agent",
        "max_tokens": 50,
        "tools": [ADD],
        "tool_choice": chosen,
        "messages": [HI],
    }
    if stream:
        with client.messages.stream(**asked) as events:
            answer = events.get_final_message()
    else:
        answer = client.messages.create(**asked)
    assert answer.stop_reason == "tool_use"


def test_a_result_that_is_an_error_is_logged_as_one(door: DialectDoor, client: Anthropic) -> None:
    door.says(Says("Sorry."))
    call = {"type": "tool_use", "id": "c1", "name": "add", "input": {"a": 1, "b": 2}}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": "no numbers", "is_error": True}
    words = {"type": "text", "text": "and now?"}
    messages: Any = [HI, {"role": "assistant", "content": [call]}, {"role": "user", "content": [words, result]}]
    client.messages.create(model="agent", max_tokens=50, messages=messages)
    sent: Any = door.asked[0]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "user"]
    assert sent[2]["content"] == "error: no numbers"


def test_a_stream_comes_to_the_same_as_a_whole_answer(door: DialectDoor, client: Anthropic) -> None:
    door.says(SUM, SUM)
    asked: dict[str, Any] = {"model": "agent", "max_tokens": 50, "tools": [ADD], "messages": [HI]}
    whole = client.messages.create(**asked)
    with client.messages.stream(**asked) as events:
        kinds = [event.type for event in events]
        streamed = events.get_final_message()
    assert [block.model_dump() for block in streamed.content] == [block.model_dump() for block in whole.content]
    assert (streamed.stop_reason, streamed.usage.output_tokens) == (whole.stop_reason, whole.usage.output_tokens)
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "add"}, {"type": "function", "function": {"name": "add"}}),
    ],
)
def test_choices_and_settings_reach_the_model(door: DialectDoor, client: Anthropic, choice: Any, sent: object) -> None:
    door.says(Says("Hello."))
    client.messages.create(
        model="agent",
        max_tokens=50,
        messages=[HI],
        tools=[ADD],  # type: ignore[list-item]
        tool_choice=choice,
        stop_sequences=["END"],
        extra_body={"temperature": 0.5, "top_k": 3},
    )
    asked = door.asked[0]
    assert asked["tool_choice"] == sent
    assert (asked["temperature"], asked["top_k"], asked["stop"], asked["max_tokens"]) == (0.5, 3, ["END"], 50)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"max_tokens": None}, "max_tokens is missing"),
        ({"messages": []}, "messages must be a list that is not empty"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages[0].role must be"),
        ({"messages": [{"role": "user", "content": [{"type": "document"}]}]}, "messages[0].content[0].type must be"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "messages[0].content[0] has no tool_"),
        ({"tools": [{"name": "add"}]}, "tools[0].input_schema is missing"),
        ({"tools": [{"name": "bash", "type": "bash_20250124"}]}, "tools[0]"),
        ({"tools": [{"name": "add", "input_schema": {"type": "float"}}]}, "tools[0].input_schema.type"),
        ({"tools": [ADD], "tool_choice": {"type": "tool", "name": "sub"}}, "tool_choice names 'sub'"),
        ({"tool_choice": {"type": "any"}}, "tool_choice wants a call"),
        ({"stream": "yes"}, "stream must be true or false"),
    ],
)
def test_what_is_wrong_is_named_by_the_field_of_this_protocol(
    door: DialectDoor, body: dict[str, Any], field: str
) -> None:
    door.says()
    assert refused(door, **body).startswith(field)
    assert door.asked == []


def test_errors_are_the_clients_own(door: DialectDoor, client: Anthropic) -> None:
    door.says(Says("too long", status=400))
    with pytest.raises(BadRequestError, match="too long"):
        client.messages.create(model="agent", max_tokens=5, messages=[HI])
    with pytest.raises(NotFoundError, match="no model"):
        client.messages.create(model="../nobody", max_tokens=5, messages=[HI])


def test_a_stream_that_breaks_ends_in_an_error_event(door: DialectDoor) -> None:
    door.says(Says("Once upon a time", break_off=True))
    body = {"model": "agent", "max_tokens": 50, "messages": [HI], "stream": True}
    text = door.client.post("/v1/messages", json=body).text
    assert 'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error"' in text
    assert "message_stop" not in text


def test_the_agent_itself_answers_too(door: DialectDoor, client: Anthropic) -> None:
    door.says(SUM, Says("It is 3."))
    with client.messages.stream(model="apprentice", max_tokens=50, messages=[HI]) as events:
        text = events.get_final_text()
    assert "> → add(a=1, b=2)" in text
    assert text.endswith("It is 3.")
    assert door.logged(1)[0].source == "apprentice"


def test_the_key_in_its_own_header_is_a_key(tmp_path: Path) -> None:
    key = api_keys.create(tmp_path, "alice", ["chat"], "")
    with (
        ModelServer(Says("Hello.")) as server,
        InteractionLog(tmp_path / "interactions.db") as log,
        running_gateway(tmp_path, server, log, GatewayConfig(require_key=True)) as (_, url),
        Anthropic(base_url=url, api_key=key, max_retries=0) as client,
    ):
        answer = client.messages.create(model="agent", max_tokens=5, messages=[HI])
        assert answer.content[0].text == "Hello."  # type: ignore[union-attr]
        body = {"max_tokens": 5, "messages": [HI]}
        stranger = httpx.post(f"{url}/v1/messages", json=body, trust_env=False)
    assert (stranger.status_code, stranger.json()["error"]["type"]) == (401, "authentication_error")
