"""One turn in which the model judges each tool alone, and calls are checked before they run."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from agent.config import LoopConfig, PromptConfig
from agent.turn.choice import MOST_JUDGED, JudgedTool, ToolChoice, chosen
from agent.turn.loop import Agent
from agent.turn.messages import Message
from agent.turn.model_client import HttpModelClient
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.model_tools import InProcess
from tests.fakes.turn_bench import errors
from toolkit.tool import Tool, ToolErrorKind


def _greeting(name: str) -> Tool:
    text = {"type": "string"}
    parameters = {"type": "object", "properties": {"name": text, "language": text}, "required": ["name"]}
    return Tool(name=name, description=f"{name} somebody.", parameters=parameters)


NAMES = [f"greet{n}" for n in range(10)]


GREETINGS = [_greeting(name) for name in NAMES]


class Found:
    """A search that finds GREETINGS."""

    def top(self, query: str, top_k: int) -> list[Tool]:
        return GREETINGS[:top_k]


def choosing(**margins: float) -> dict[str, str]:
    """Return the headers of an answer before which tools were judged."""
    judged = [JudgedTool(name=name, margin=margin, search=0.0) for name, margin in margins.items()]
    return {"x-apprentice-choice": chosen(judged).model_dump_json()}


@contextmanager
def greeter(*replies: Says, judge_tools: bool = True, **limits: Any) -> Iterator[tuple[Agent, ModelServer, InProcess]]:
    executor = InProcess()
    executor.functions = {name: lambda name, language="English": f"{name} in {language}" for name in NAMES}
    with ModelServer(*replies) as server, HttpModelClient(server.url) as client:
        prompt = PromptConfig(judge_tools=judge_tools)
        yield Agent(client, executor, Found(), LoopConfig(**limits), prompt), server, executor


def named(tools: list[dict[str, Any]]) -> list[str]:
    return [tool["function"]["name"] for tool in tools]


def greets(tool: str, **arguments: str) -> tuple[str, str]:
    return tool, json.dumps(arguments)


def test_the_best_few_are_candidates_and_the_turn_goes_on_with_the_chosen_ones() -> None:
    headers = choosing(greet3=3.0, greet0=1.0)
    with greeter(Says(calls=[greets("greet3", name="Ada")], headers=headers), Says("Done.")) as (agent, server, _):
        trajectory = agent.run("Greet Ada")
    first, second = server.requests
    assert (named(first["tools"]), named(first["further_tools"])) == (NAMES[:3], NAMES[3:MOST_JUDGED])
    assert (named(second["tools"]), "further_tools" in second) == (["greet3"], False)
    assert trajectory.tools == ("greet3",)
    assert trajectory.choice == ToolChoice.model_validate_json(headers["x-apprentice-choice"])
    assert [result.value for result in trajectory.results] == ["Ada in English"]


def test_where_tools_are_not_judged_there_are_no_candidates_and_no_checks() -> None:
    call = Says(calls=[greets("greet0", name="Bob", language="Latin")])
    with greeter(call, Says("Done."), judge_tools=False) as (agent, server, _):
        trajectory = agent.run("Greet Ada")
    assert "further_tools" not in server.requests[0]
    assert (trajectory.choice, trajectory.checks) == (None, ())
    assert [result.value for result in trajectory.results] == ["Bob in Latin"]


def test_an_option_that_nobody_asked_for_is_dropped_and_noted() -> None:
    call = Says(calls=[greets("greet0", name="Ada", language="Latin")], headers=choosing(greet0=1.0, greet1=0.5))
    with greeter(call, Says("Done.")) as (agent, server, executor):
        trajectory = agent.run("Greet Ada")
    assert executor.ran == [("greet0", {"name": "Ada"})]
    assert json.loads(server.requests[1]["messages"][1]["tool_calls"][0]["function"]["arguments"]) == {"name": "Ada"}
    (noted,) = trajectory.checks
    assert (noted.dropped, noted.unfounded) == (("language",), ())
    assert noted.call.arguments == {"name": "Ada", "language": "Latin"}


def test_instead_of_an_unfounded_call_the_next_tool_that_fits_is_tried() -> None:
    wrong = Says(calls=[greets("greet0", name="Bob")], headers=choosing(greet0=3.0, greet1=-1.0, greet2=2.0))
    right = Says(calls=[greets("greet2", name="Ada")])
    with greeter(wrong, right, Says("Done.")) as (agent, server, executor):
        trajectory = agent.run("Greet Ada")
    assert named(server.requests[1]["tools"]) == ["greet2"]
    assert server.requests[1]["messages"] == server.requests[0]["messages"]
    assert executor.ran == [("greet2", {"name": "Ada"})]
    assert [(noted.call.name, noted.unfounded) for noted in trajectory.checks] == [("greet0", ("name",))]


def test_where_no_tool_has_a_founded_call_the_model_answers_without_one() -> None:
    wrong = Says(calls=[greets("greet0", name="Bob")], headers=choosing(greet0=3.0, greet1=2.0))
    with greeter(wrong, Says(calls=[greets("greet1", name="Eve")]), Says("I cannot.")) as (agent, server, executor):
        trajectory = agent.run("Greet Ada")
    assert executor.ran == []
    assert [request.get("tool_choice") for request in server.requests] == [None, None, "none"]
    assert (trajectory.answer, trajectory.stop_reason, trajectory.calls) == ("I cannot.", "answered", ())
    assert len(trajectory.checks) == 2


def test_of_several_calls_the_founded_ones_are_run() -> None:
    calls = Says(calls=[greets("greet0", name="Ada"), greets("greet0", name="Bob")], headers=choosing(greet0=3.0))
    with greeter(calls, Says("Done.")) as (agent, _, executor):
        agent.run("Greet Ada")
    assert executor.ran == [("greet0", {"name": "Ada"})]


def test_what_was_said_before_and_the_results_of_tools_found_a_call_too() -> None:
    earlier = [Message(role="user", content="I am Ada."), Message(role="assistant", content="Hello.")]
    first = Says(calls=[greets("greet0", name="Ada")], headers=choosing(greet0=3.0))
    second = Says(calls=[greets("greet0", name="English")])
    with greeter(first, second, Says("Done.")) as (agent, _, executor):
        agent.run("Greet me", history=earlier)
    assert executor.ran == [("greet0", {"name": "Ada"}), ("greet0", {"name": "English"})]


def test_no_tool_is_tried_when_the_steps_are_spent_and_nothing_is_run() -> None:
    wrong = Says(calls=[greets("greet0", name="Bob")], headers=choosing(greet0=3.0, greet1=2.0))
    with greeter(wrong, max_steps=1) as (agent, server, executor):
        trajectory = agent.run("Greet Ada")
    assert (trajectory.stop_reason, len(server.requests), executor.ran) == ("step_limit", 1, [])
    assert errors(trajectory) == [ToolErrorKind.INVALID_ARGUMENTS]
