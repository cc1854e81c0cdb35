"""Requests of clients in a suite are asked as the client asked them, and their calls compared by their arguments."""

from pathlib import Path

import pytest

from agent.config import PromptConfig
from agent.turn.model_client import HttpModelClient
from evolver.config import Config
from evolver.crew.local import LocalCrew
from evolver.crew.workshop import Workshop
from evolver.evaluation.client_items import ask, item_of
from evolver.evaluation.scoring import askable, own_suite, score_requests
from evolver.evaluation.soft_score import SoftScorer
from evolver.types import Trace
from tests.fakes import shop_tools
from tests.fakes.client_traffic import asked, client_trace, said
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.model_vllm import write_model
from tests.fakes.read_prompt import read, reads_prompt
from toolkit.registry import ToolRegistry
from toolkit.search import ToolIndex

SYSTEM = "You help in a shop."
STEPS = [("get_weather", {"city": "Bern"}, "14"), ("refund_order", {"order": "A-1", "amount": 14}, "done")]


def traced() -> Trace:
    found = client_trace(asked("Weather in Bern?", *STEPS, history=said(system=SYSTEM), answer="Done, 14."))
    assert found is not None
    return found


TRACE = traced()
ITEM = item_of(TRACE)


def test_the_first_step_of_a_turn_is_asked() -> None:
    assert [call.name for call in ITEM.expected] == ["get_weather"]
    assert [message.content for message in ITEM.history] == [SYSTEM]
    assert askable(own_suite([TRACE]), ToolRegistry()).items == (ITEM,)


@pytest.mark.parametrize(
    ("says", "exact", "right_tool", "invalid"),
    [
        (Says(calls=[("get_weather", '{"city": "Bern"}')]), True, True, False),
        (Says(calls=[("get_weather", '{"city": "Thun"}')]), False, True, False),
        (Says(calls=[("get_weather", '{"town": "Bern"}')]), False, True, True),
        (Says(calls=[("refund_order", '{"order": "A", "amount": 1}')]), False, False, False),
        (Says(calls=[("get_weather", '{"city": "Bern"}')] * 2), False, False, False),
        (Says(calls=[("forecast", "{}")]), False, False, True),
        (Says("It is fine."), False, False, False),
    ],
)
def test_calls_are_compared_by_their_arguments(says: Says, exact: bool, right_tool: bool, invalid: bool) -> None:
    with ModelServer(says) as server, HttpModelClient(server.url) as client:
        found = ask(ITEM, client, "adapter-0001", 80)
        (body,) = server.requests
    assert (found.exact, found.right_tool, found.invalid_call, found.needs_tool) == (exact, right_tool, invalid, True)
    assert [message["content"] for message in body["messages"]] == [SYSTEM, "Weather in Bern?"]
    assert [tool["function"]["name"] for tool in body["tools"]] == ["get_weather", "refund_order"]
    assert (body["model"], body["temperature"]) == ("adapter-0001", 0.0)


def test_what_the_server_refuses_could_not_be_judged() -> None:
    refusal = Says(status=400, raw=b'{"error": {"message": "no"}}')
    with ModelServer(refusal) as server, HttpModelClient(server.url) as client:
        assert ask(ITEM, client, "base", 80).failed


def test_the_soft_score_reads_the_clients_prompt() -> None:
    bodies = []

    def script(body: dict[str, object]) -> Says:
        bodies.append(body)
        return read([-0.5, -0.25]) if reads_prompt(body) else Says("x")

    with ModelServer(script=script) as server, HttpModelClient(server.url) as client:
        scorer = SoftScorer(client, ToolIndex(shop_tools.executor().registry), PromptConfig(), "base", {})
        assert scorer(ITEM, []) == pytest.approx(-0.75)
    assert all(body["tools"][0]["function"]["name"] == "get_weather" for body in bodies)
    assert all(body["messages"][0]["content"] == SYSTEM for body in bodies)


def test_a_suite_mixes_requests_of_clients_and_of_the_agent(tmp_path: Path) -> None:
    def script(body: dict[str, object]) -> Says:
        return read([-0.5]) if reads_prompt(body) else Says(calls=[("get_weather", '{"city": "Bern"}')])

    config = Config.model_validate(
        {"data_folder": tmp_path, "agent": {"serving": {"model": str(write_model(tmp_path / "model"))}}}
    )
    with ModelServer(script=script) as server, HttpModelClient(server.url) as client:
        crew = LocalCrew(Workshop(shop_tools.executor(), client, None), 2)  # type: ignore[arg-type]
        report = score_requests(config, own_suite([TRACE]), "base", crew)
    (score,) = report.items
    assert (score.exact, score.logprob) == (True, -0.5)
