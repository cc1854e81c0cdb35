"""Asking the same request several times."""

from typing import Any

from agent.config import PromptConfig
from agent.turn.model_client import HttpModelClient
from evolver.crew.local import LocalCrew
from evolver.crew.workshop import Record, Workshop
from evolver.mining.uncertainty import sample_calls
from evolver.types import Call
from tests.fakes import shop_tools
from tests.fakes.model_server import ModelServer, Says, serving


def crew(client: HttpModelClient, at_once: int, record: Record | None = None) -> LocalCrew:
    return LocalCrew(Workshop(shop_tools.executor(), client, None, record=record), at_once)  # type: ignore[arg-type]


PROMPT = PromptConfig(tools_in_prompt=2, judge_tools=True)


def asked(*replies: Says) -> tuple[Any, list[dict[str, Any]]]:
    with serving(*replies) as server, HttpModelClient(server.url) as client:
        (found,) = sample_calls(["add prices 2 and 3"], "agent", crew(client, 1), prompt=PROMPT, max_tokens=50)
    return found, server.requests


def adds(second: int) -> Says:
    return Says(calls=[("add_prices", f'{{"first": 2, "second": {second}}}')])


def test_calls_by_how_often_they_are_made() -> None:
    found, requests = asked(adds(3), adds(4), Says("Five."), adds(3))
    made = [(call, share) for call, share in found.calls]
    assert made == [
        (Call(name="add_prices", arguments={"first": 2, "second": 3}), 0.5),
        (Call(name="add_prices", arguments={"first": 2, "second": 4}), 0.25),
    ]
    assert all(request["temperature"] > 0 and len(request["tools"]) == 2 for request in requests)
    assert all(request["further_tools"] for request in requests)


def test_what_the_server_refuses_and_what_does_not_parse_is_no_call() -> None:
    found, requests = asked(Says("no", status=400), Says(calls=[("add_prices", "{")]), Says("Five."), adds(3))
    assert [share for _, share in found.calls] == [0.25]
    assert len(requests) == 4


def test_several_requests_are_asked_together_and_what_was_said_is_recorded() -> None:
    recorded: list[Any] = []

    def say(body: dict[str, Any]) -> Says:
        return adds(3) if body["messages"][-1]["content"] == "add prices 2 and 3" else Says("Hello!")

    with ModelServer(script=say) as server, HttpModelClient(server.url) as client:
        texts = ["hello", "add prices 2 and 3", "good evening"]
        asking = crew(client, 4, record=lambda *one: recorded.append(one))
        found = sample_calls(texts, "agent", asking, prompt=PROMPT, max_tokens=50)
    assert [[share for _, share in one.calls] for one in found] == [[], [1.0], []]
    assert len(recorded) == 12
    assert {body["messages"][-1]["content"] for _, body, _ in recorded} == set(texts)
