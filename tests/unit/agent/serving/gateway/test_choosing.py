"""The choice of a tool at the gateway: each candidate is judged alone, and the model is shown those that fit."""

import itertools
import json
from collections.abc import Mapping
from typing import Any

import pytest

from agent.log.interaction_log import InteractionLog
from agent.serving.upstreams.connection import Upstream
from agent.turn.messages import Interaction
from tests.fakes.gateway_door import Door
from tests.fakes.model_gateway import KEY, running_gateway
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.tool_judge import CALL_TOKEN, judging
from toolkit.tool import Tool

CALIBRATION = {"token_id": CALL_TOKEN, "bias": 0.5}
TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
TOOLS = [
    Tool(name=name, description=description, parameters=TEXT).schema()
    for name, description in (
        ("find_contact", "Find a person's telephone number."),
        ("find_film", "Find a film by its title."),
        ("find_train", "Find a train between two towns."),
    )
]
BODY: dict[str, Any] = {
    "model": "agent",
    "messages": [{"role": "user", "content": "Which train goes to Bergen?"}],
    "tools": TOOLS,
}
CALL = {"id": "c1", "type": "function", "function": {"name": "find_film", "arguments": '{"text": "Alien"}'}}
RESULTS = [
    *BODY["messages"],
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": '"1979"'},
]


def model(door: Door, margins: Mapping[str, float]) -> None:
    """Let an adapter serve that judges tools by ``margins`` and then calls the first one shown."""

    def then(request: dict[str, Any]) -> Says:
        return Says(calls=[(request["tools"][0]["function"]["name"], '{"text": "Bergen"}')])

    door.adapter("adapter-0001", CALIBRATION)
    door.server._script = judging(margins, then)


def shown(door: Door) -> list[str]:
    """The tools in the request that was answered."""
    return [tool["function"]["name"] for tool in door.server.requests[-1]["tools"]]


MARGINS = {"find_contact": -3.0, "find_film": 1.5, "find_train": 4.0}


def test_each_tool_is_judged_alone_and_the_best_is_called_in_any_order(door: Door) -> None:
    model(door, MARGINS)
    for tools in itertools.permutations(TOOLS):
        door.server.requests.clear()
        answer = door.chat({**BODY, "tools": list(tools)})
        assert answer.json()["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "find_train"
        *judged, _ = door.server.requests
        assert sorted(request["tools"][0]["function"]["name"] for request in judged) == sorted(MARGINS)
        assert {(len(request["tools"]), request["tool_choice"], request["max_tokens"]) for request in judged} == {
            (1, "none", 1)
        }
        assert shown(door) == ["find_train"]
        assert door.server.requests[-1]["logit_bias"] == {str(CALL_TOKEN): 0.5}


def test_the_answer_tells_the_margins_with_the_bias(door: Door) -> None:
    model(door, MARGINS)
    choice = json.loads(door.chat(BODY).headers["x-apprentice-choice"])
    assert {tool["name"]: tool["margin"] for tool in choice["judged"]} == {
        "find_contact": -2.5,
        "find_film": 2.0,
        "find_train": 4.5,
    }
    assert choice["judged"][0]["name"] == "find_train"
    assert choice["shown"] == ["find_train"]


def test_a_stream_is_judged_first_and_then_streams(door: Door) -> None:
    model(door, MARGINS)
    answer = door.chat({**BODY, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert json.loads(answer.headers["x-apprentice-choice"])["shown"] == ["find_train"]
    assert '"name": "find_train"' in answer.text
    assert door.server.requests[-1]["stream"] is True


@pytest.mark.parametrize(
    ("change", "headers"),
    [
        ({}, {"x-apprentice-choice": "off"}),
        ({"tools": TOOLS[:1]}, {}),
        ({"tool_choice": {"type": "function", "function": {"name": "find_film"}}}, {}),
        ({"tool_choice": "none"}, {}),
        ({"logit_bias": {"7": 1.0}}, {}),
        ({"messages": RESULTS}, {}),
        ({"model": "base"}, {}),
    ],
    ids=["off", "one tool", "named", "none", "a bias of its own", "results of this turn", "not calibrated"],
)
def test_the_tools_are_left_alone(door: Door, change: dict[str, Any], headers: dict[str, str]) -> None:
    model(door, MARGINS)
    answer = door.chat({**BODY, **change}, **headers)
    assert answer.status_code == 200
    assert len(door.server.requests) == 1
    assert shown(door) == [tool["function"]["name"] for tool in {**BODY, **change}["tools"]]
    assert "x-apprentice-choice" not in answer.headers


@pytest.mark.parametrize("stream", [False, True])
def test_names_in_any_script_are_judged(door: Door, stream: bool) -> None:
    names = ("查天气", "найти_поезд", "do")
    model(door, dict.fromkeys(names, 1.0))
    tools = [Tool(name=name, description="", parameters=TEXT).schema() for name in names]
    answer = door.chat({**BODY, "tools": tools, "stream": stream})
    assert answer.status_code == 200
    assert {tool["name"] for tool in json.loads(answer.headers["x-apprentice-choice"])["judged"]} == set(names)


def test_a_required_call_is_chosen_only_where_one_is_likely(door: Door) -> None:
    model(door, MARGINS)
    assert "x-apprentice-choice" in door.chat({**BODY, "tool_choice": "required"}).headers
    model(door, dict.fromkeys(MARGINS, -3.0))
    assert "x-apprentice-choice" not in door.chat({**BODY, "tool_choice": "required"}).headers
    assert shown(door) == list(MARGINS)


def test_more_tools_than_can_be_searched_at_once_are_left_alone(door: Door) -> None:
    model(door, {})
    tools = [Tool(name=f"tool_{n}", description="", parameters=TEXT).schema() for n in range(129)]
    assert "x-apprentice-choice" not in door.chat({**BODY, "tools": tools}).headers
    assert len(door.server.requests) == 1


def test_results_of_an_earlier_turn_do_not_hinder(door: Door) -> None:
    model(door, MARGINS)
    said = [*RESULTS, {"role": "assistant", "content": "1979."}, *BODY["messages"]]
    assert "x-apprentice-choice" in door.chat({**BODY, "messages": said}).headers


def test_further_tools_are_shown_when_they_are_chosen_only(door: Door) -> None:
    model(door, MARGINS)
    body = {**BODY, "tools": TOOLS[:1], "further_tools": TOOLS[1:]}
    door.chat(body)
    assert shown(door) == ["find_train"]
    door.chat(body, **{"x-apprentice-choice": "off"})
    assert shown(door) == ["find_contact"]
    assert "further_tools" not in door.server.requests[-1]
    wrong = door.chat({**body, "further_tools": [{"type": "function", "function": {}}]})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "further_tools[0].function.name")


def test_where_the_server_gives_no_margin_the_request_is_asked_as_it_is(door: Door) -> None:
    model(door, MARGINS)
    door.server._script = lambda request: Says("too long", status=400) if request.get("logprobs") else Says("hello")
    assert door.chat(BODY).json()["choices"][0]["message"]["content"] == "hello"
    assert shown(door) == [tool["function"]["name"] for tool in TOOLS]


TOO_MANY = "Requested sample logprobs of 20, which is greater than max allowed: 5"


@pytest.mark.parametrize(
    ("silent", "remembered"),
    [
        (Says("It is 3."), True),
        (Says(raw=b'{"choices": [{"index": 0, "logprobs": null, "message": {"content": "hi"}}]}'), True),
        (Says(TOO_MANY, status=400), True),
        (Says("the prompt is too long", status=400), False),
        (Says(f"the prompt is too long: {'x' * 100} logprobs", status=400), False),
        (Says("overloaded", status=503), False),
        (Says(raw=b"<html>starting</html>"), False),
        (Says(raw=b"{}"), False),
        (Says(raw=b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": ""}}]}'), False),
    ],
    ids=[
        *("left out", "null", "refused", "another error", "quoted by another error", "overloaded"),
        *("a page", "an odd answer", "no token"),
    ],
)
def test_a_server_that_gives_no_logprobs_is_asked_for_them_once(tmp_path: Any, silent: Says, remembered: bool) -> None:
    import httpx

    with (
        ModelServer(script=lambda request: silent if request.get("logprobs") else Says("hello")) as server,
        running_gateway(tmp_path, server) as (gateway, url),
        httpx.Client(base_url=url, trust_env=False, timeout=60) as client,
    ):
        door = Door(gateway, server, client, tmp_path)
        door.adapter("adapter-0001", CALIBRATION)
        for judged in (len(TOOLS), 0 if remembered else len(TOOLS)):
            server.requests.clear()
            answer = door.chat(BODY)
            assert answer.json()["choices"][0]["message"]["content"] == "hello"
            assert "x-apprentice-choice" not in answer.headers
            assert shown(door) == [tool["function"]["name"] for tool in TOOLS]
            assert len(server.requests) == judged + 1


def test_beside_a_server_without_logprobs_another_one_judges_the_tools(tmp_path: Any) -> None:
    import httpx

    def then(request: dict[str, Any]) -> Says:
        return Says("hello")

    with (
        ModelServer(script=then) as silent,
        ModelServer(script=judging(MARGINS, then), key=KEY) as telling,
        running_gateway(tmp_path, silent) as (gateway, url),
        httpx.Client(base_url=url, trust_env=False, timeout=60) as client,
    ):
        gateway.pool.replace([Upstream(silent.url, KEY, pid=4711), Upstream(telling.url, KEY, pid=4712)])
        gateway.pool.without_logprobs(gateway.pool.members[0])
        door = Door(gateway, telling, client, tmp_path)
        door.adapter("adapter-0001", CALIBRATION)
        assert json.loads(door.chat(BODY).headers["x-apprentice-choice"])["shown"] == ["find_train"]
        assert [request for request in silent.requests if request.get("logprobs")] == []


def test_a_choice_is_logged_with_all_candidates(tmp_path: Any) -> None:
    import httpx

    with (
        InteractionLog(tmp_path / "interactions.db") as log,
        ModelServer(script=lambda _: Says("hello")) as server,
        running_gateway(tmp_path, server, log) as (gateway, url),
        httpx.Client(base_url=url, trust_env=False, timeout=60) as client,
    ):
        door = Door(gateway, server, client, tmp_path)
        model(door, MARGINS)
        door.chat(BODY, **{"x-apprentice-log": "wait"})
        (found,) = log.read()
    assert isinstance(found, Interaction)
    assert found.trajectory.tools == ("find_contact", "find_film", "find_train")
    assert found.trajectory.choice is not None
    assert found.trajectory.choice.shown == ("find_train",)
    assert found.trajectory.choice.judged[0].name == "find_train"
