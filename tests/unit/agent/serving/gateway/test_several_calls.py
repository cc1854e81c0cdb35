"""A request whose parts speak of different tools: each is asked for alone, and the answer has the calls of all."""

import json
from typing import Any

import pytest

from agent.log.interaction_log import InteractionLog
from agent.turn.messages import Interaction
from agent.turn.model_client import HttpModelClient, ModelReply
from tests.fakes.gateway_door import Door
from tests.fakes.model_gateway import running_gateway
from tests.fakes.model_server import ModelServer, Says, Script
from tests.fakes.tool_judge import CALL_TOKEN, judging
from tests.unit.agent.serving.gateway.test_choosing import CALIBRATION, TOOLS

TEXT = "Which train goes to the town of Bergen? And find the film called Alien."
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
BODY: dict[str, Any] = {
    "model": "agent",
    "messages": [{"role": "user", "content": TEXT}],
    "tools": TOOLS,
}
MARGINS = {"find_contact": -3.0, "find_film": 1.5, "find_train": 4.0}


def calling(request: dict[str, Any]) -> Says:
    name = request["tools"][0]["function"]["name"]
    return Says(calls=[(name, json.dumps({"text": name[-5:]}))], call_id=f"{name}-")


def serve(door: Door, then: Script = calling, margins: dict[str, float] = MARGINS) -> None:
    door.adapter("adapter-0001", CALIBRATION)
    door.server._script = judging(margins, then)


PARTS = {"find_train": "Which train goes to the town of Bergen?", "find_film": "find the film called Alien."}


def answered(door: Door) -> list[list[str]]:
    """Return the tools shown in each request that was no judgement."""
    asked = [request for request in door.server.requests if request.get("max_tokens") != 1]
    return sorted([tool["function"]["name"] for tool in request["tools"]] for request in asked)


def test_each_tool_is_asked_for_alone_and_all_calls_are_in_one_answer(door: Door) -> None:
    serve(door)
    answer = door.chat(BODY)
    (choice,) = answer.json()["choices"]
    calls = choice["message"]["tool_calls"]
    assert [call["function"]["name"] for call in calls] == ["find_train", "find_film"]
    assert len({call["id"] for call in calls}) == 2
    assert choice["finish_reason"] == "tool_calls"
    assert answer.json()["usage"] == {"prompt_tokens": 20, "completion_tokens": 6, "total_tokens": 26}
    assert json.loads(answer.headers["x-apprentice-choice"])["shown"] == ["find_train", "find_film"]
    assert answer.headers["x-apprentice-adapter"] == "adapter-0001"
    assert answered(door) == [["find_film"], ["find_train"]]
    for request in door.server.requests[-2:]:
        assert request["logit_bias"] == {str(CALL_TOKEN): 0.5}
        (message,) = request["messages"]
        assert PARTS[request["tools"][0]["function"]["name"]] in message["content"]


def test_a_stream_has_the_same_calls(door: Door) -> None:
    serve(door)
    whole = door.chat(BODY).json()["choices"][0]["message"]["tool_calls"]
    with HttpModelClient(str(door.client.base_url)) as client:
        *pieces, reply = client.stream(BODY)
    assert isinstance(reply, ModelReply)
    assert (pieces, reply.finish_reason) == ([], "tool_calls")
    assert [(call.name, call.raw) for call in reply.message.tool_calls] == [
        (call["function"]["name"], call["function"]["arguments"]) for call in whole
    ]
    assert reply.usage.prompt_tokens == 20
    assert reply.choice is not None
    assert all("stream" not in request for request in door.server.requests)


def test_where_one_tool_is_called_the_answer_has_that_call(door: Door) -> None:
    serve(door, lambda request: calling(request) if "film" in str(request["tools"]) else Says("I cannot say."))
    (choice,) = door.chat(BODY).json()["choices"]
    assert [call["function"]["name"] for call in choice["message"]["tool_calls"]] == ["find_film"]


@pytest.mark.parametrize("stream", [False, True])
def test_where_none_is_called_the_answer_is_the_text(door: Door, stream: bool) -> None:
    serve(door, lambda request: Says("I cannot say."))
    with HttpModelClient(str(door.client.base_url)) as client:
        (*_, reply) = client.stream(BODY) if stream else (client.chat(BODY),)
    assert isinstance(reply, ModelReply)
    assert (reply.message.content, reply.message.tool_calls, reply.finish_reason) == ("I cannot say.", (), "stop")


def test_an_answer_that_was_cut_off_says_so(door: Door) -> None:
    serve(door, lambda request: Says(calls=[("find_film", "{}")], finish_reason="length"))
    assert door.chat(BODY).json()["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("broken", [Says("overloaded", status=500), Says(raw=b"{}"), Says(raw=b"[]")])
def test_where_one_answer_fails_the_best_tool_is_asked_for_as_ever(door: Door, broken: Says) -> None:
    serve(door, lambda request: broken if "film" in str(request["tools"]) else calling(request))
    answer = door.chat(BODY)
    assert json.loads(answer.headers["x-apprentice-choice"])["shown"] == ["find_train"]
    (call,) = answer.json()["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "find_train"


@pytest.mark.parametrize(
    "change",
    [
        {"parallel_tool_calls": False},
        {"n": 2},
        {"logprobs": True},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": TEXT}, PICTURE]}]},
        {"messages": [{"role": "user", "content": "Which train goes to the town of Bergen?"}]},
        {"messages": [{"role": "user", "content": 'Which train is called "the train to Oslo. Find the film"?'}]},
    ],
    ids=["one call", "two answers", "log-probabilities", "a picture", "one part", "a quoted value"],
)
def test_one_tool_is_asked_for(door: Door, change: dict[str, Any]) -> None:
    serve(door)
    door.chat({**BODY, **change})
    assert answered(door) == [["find_train"]]


def test_a_text_in_pieces_is_divided_too(door: Door) -> None:
    serve(door)
    door.chat({**BODY, "messages": [{"role": "user", "content": [{"type": "text", "text": TEXT}]}]})
    assert answered(door) == [["find_film"], ["find_train"]]


def test_what_was_said_before_is_told_with_each_part(door: Door) -> None:
    serve(door)
    before = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hi."}]
    door.chat({**BODY, "messages": [*before, *BODY["messages"]]})
    assert answered(door) == [["find_film"], ["find_train"]]
    for request in door.server.requests[-2:]:
        assert request["messages"][:-1] == before


def test_the_log_has_one_turn_with_all_calls(tmp_path: Any) -> None:
    import httpx

    with (
        InteractionLog(tmp_path / "interactions.db") as log,
        ModelServer(script=lambda _: Says("hello")) as server,
        running_gateway(tmp_path, server, log) as (gateway, url),
        httpx.Client(base_url=url, trust_env=False, timeout=60) as client,
    ):
        door = Door(gateway, server, client, tmp_path)
        serve(door)
        door.chat(BODY, **{"x-apprentice-log": "wait"})
        door.chat({**BODY, "stream": True}, **{"x-apprentice-log": "wait"})
        logged = [found.trajectory for found in log.read() if isinstance(found, Interaction)]
    for turn in logged:
        assert [call.name for call in turn.calls] == ["find_train", "find_film"]
        assert turn.choice is not None
        assert turn.choice.shown == ("find_train", "find_film")
    assert len(logged) == 2
