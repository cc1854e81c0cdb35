"""Requests as they reach the model server, and those that are refused before."""

import asyncio
from typing import Any

import pytest

from agent.serving.gateway import smolagents_format
from agent.tools.schemas import prepared
from tests.fakes.gateway_door import CHAT, WITH_TOOLS, Door
from tests.fakes.model_tools import ADD


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_that_no_grammar_can_be_made_of_is_refused_before_an_answer_begins(door: Door, stream: bool) -> None:
    odd = {"name": "odd_one", "parameters": {"type": "object", "properties": {"x": {"type": "float"}}}}
    answer = door.chat({**CHAT, "tools": [ADD.schema(), {"type": "function", "function": odd}], "stream": stream})
    assert answer.status_code == 400
    message = answer.json()["error"]["message"]
    assert message.startswith('tools[1].function.parameters.properties.x.type: "float" is none of')
    assert message.endswith("correct the schema of the tool 'odd_one'")
    assert door.server.requests == []


def test_the_server_gets_tools_without_references(door: Door) -> None:
    parameters = {
        "type": "object",
        "properties": {"x": {"$ref": "#/$defs/text"}},
        "$defs": {"text": {"oneOf": [{"const": "none"}, {"const": "box"}]}},
    }
    function = {"name": "wrap", "description": "Wrap it."}
    door.chat({**CHAT, "tools": [{"type": "function", "function": {**function, "parameters": parameters}}]})
    (sent,) = door.server.requests[0]["tools"]
    assert sent["function"] == {
        **function,
        "parameters": {
            "type": "object",
            "properties": {"x": {"anyOf": [{"const": "none"}, {"const": "box"}]}},
            "required": [],
        },
    }


def test_everything_of_the_request_but_the_model_and_the_tools_stays_as_it_is(door: Door) -> None:
    body = {**WITH_TOOLS, "temperature": 0.3, "n": 2, "something_new": {"é": [1, None]}}
    door.chat(body)
    assert door.server.requests[0] == {**body, "model": "base", "tools": prepared(body["tools"])}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b'"x"', b"[" * 100_000, b"\xff"])
def test_a_body_that_is_no_object_is_refused(door: Door, body: bytes) -> None:
    answer = door.client.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "the request's body is no JSON object"
    assert door.server.paths == []


@pytest.mark.parametrize("given", [{}, {"tool_choice": None}, {"logit_bias": None}, {"logit_bias": {}}])
def test_null_is_not_given(door: Door, given: dict[str, Any]) -> None:
    """vLLM answers ``tool_choice`` null with neither text nor call."""
    door.adapter("adapter-0003", {"token_id": 42, "bias": -1.5})
    rest = dict.fromkeys(("stream", "n", "stop", "response_format", "functions", "max_tokens"))
    assert door.chat({**rest, **WITH_TOOLS, **given}).status_code == 200
    assert door.chat({**WITH_TOOLS, **given, "model": None}).status_code == 200
    sent = {**CHAT, "tools": prepared(WITH_TOOLS["tools"]), "model": "adapter-0003", "logit_bias": {"42": -1.5}}
    assert door.server.requests == [sent] * 2


def test_no_tools_are_not_sent(door: Door) -> None:
    assert door.chat({**CHAT, "tools": [], "tool_choice": "auto"}).status_code == 200
    assert door.server.requests[0] == {**CHAT, "model": "base"}


def test_null_fields_of_a_tool_are_not_sent(door: Door) -> None:
    (tool,) = WITH_TOOLS["tools"]
    nulls = {**tool, "extra": None, "function": {**tool["function"], "strict": None}}
    assert door.chat({**CHAT, "tools": [nulls]}).status_code == 200
    assert door.chat({**CHAT, "tools": [{**nulls, "type": None}]}).status_code == 200
    (plain,) = prepared(WITH_TOOLS["tools"])
    assert [request["tools"] for request in door.server.requests] == [[plain], [{"function": plain["function"]}]]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"structured_outputs": {"json": {"type": "float"}}}, "structured_outputs.json.type"),
        ({"structured_outputs": {"json": '{"type": "float"}'}}, "structured_outputs.json.type"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "float"}}}},
            "response_format.json_schema.schema.type",
        ),
        (
            {"response_format": {"type": "structural_tag", "structures": [{"schema": {"type": "float"}}]}},
            "response_format.structures[0].schema.type",
        ),
    ],
)
def test_a_form_of_answers_that_is_no_schema_is_refused(
    door: Door, path: str, stream: bool, form: dict[str, Any], param: str
) -> None:
    rest = {"messages": CHAT["messages"]} if "chat" in path else {"prompt": "x"}
    answer = door.client.post(path, json={**rest, **form, "stream": stream})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert door.server.paths == []


@pytest.mark.parametrize("outputs", [{"json": {"type": "integer"}}, {"regex": "a+"}])
def test_structured_outputs_reach_the_server_as_they_are(door: Door, outputs: dict[str, Any]) -> None:
    assert door.client.post("/v1/completions", json={"prompt": "x", "structured_outputs": outputs}).status_code == 200
    assert door.server.requests == [{"model": "base", "prompt": "x", "structured_outputs": outputs}]


def test_half_a_character_is_answered(door: Door) -> None:
    content = b'{"messages": [{"role": "user", "content": "a\\ud83d"}]}'
    answer = door.client.post("/v1/chat/completions", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 200
    assert door.server.requests[0]["messages"][0]["content"] == "a\ufffd"


@pytest.mark.parametrize("name", [3, ["agent"], {}])
def test_a_name_that_is_no_text_is_refused(door: Door, name: object) -> None:
    answer = door.chat({**CHAT, "model": name})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")
    assert door.server.paths == []


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_a_stream_that_is_neither_true_nor_false_is_refused(door: Door, path: str) -> None:
    answer = door.client.post(path, json={**CHAT, "prompt": "x", "stream": "false"})
    assert answer.status_code == 400
    assert answer.json()["error"] == {
        "message": 'stream must be true or false, not "false"',
        "type": "invalid_request_error",
        "param": "stream",
        "code": 400,
    }
    assert door.server.paths == []


def test_a_model_whose_template_writes_one_call_is_asked_for_one(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a client gets two, which no further prompt can hold."""
    monkeypatch.setattr(door.gateway, "parallel", lambda: False)
    assert door.chat({**WITH_TOOLS, "parallel_tool_calls": True}).status_code == 200
    assert door.chat(CHAT).status_code == 200
    assert [sent.get("parallel_tool_calls") for sent in door.server.requests] == [False, None]


CALLED = "Calling tools:\n[{'id': 'c1', 'type': 'function', 'function': {'name': 'final_answer', 'arguments': {}}}]"
TASKS = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": CALLED},
    {"role": "user", "content": "Observation:\n3\nNew task:\nbye"},
]


@pytest.mark.parametrize(("apart", "roles"), [(True, ["tool", "user"]), (False, ["user"])])
def test_a_next_task_is_shown_as_the_models_template_takes_it(
    door: Door, monkeypatch: pytest.MonkeyPatch, apart: bool, roles: list[str]
) -> None:
    monkeypatch.setattr(door.gateway, "user_after_result", lambda: apart)
    assert door.chat({**CHAT, "messages": TASKS}).status_code == 200
    (sent,) = door.server.requests
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", *roles]


def test_calls_in_text_are_read_apart_from_answering(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """To read them is slow: all other clients would wait."""
    loops: list[object] = []

    def as_shown(messages: list[Any], **options: Any) -> list[Any]:
        loops.append(asyncio._get_running_loop())
        return messages

    monkeypatch.setattr(smolagents_format, "as_shown", as_shown)
    assert door.chat({**CHAT, "messages": TASKS}).status_code == 200
    assert door.chat(CHAT).status_code == 200
    assert loops == [None]


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(("sent", "passed"), [(PARENT, PARENT), ("no traceparent", None), ("", None)])
def test_the_server_is_told_of_the_trace(door: Door, sent: str, passed: str | None) -> None:
    door.chat(CHAT, **({"traceparent": sent} if sent else {}))
    assert door.server.headers[-1].get("traceparent") == passed
