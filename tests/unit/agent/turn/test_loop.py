"""One turn, against a model server that follows a script."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.config import LoopConfig, PromptConfig
from agent.errors import ModelUnavailable
from agent.turn.choice import MOST_JUDGED, JudgedTool, ToolChoice, chosen
from agent.turn.loop import Agent
from agent.turn.messages import Message, Trajectory
from agent.turn.model_client import HttpModelClient
from agent.turn.prompt import PROMPT_VERSION
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.model_tools import AllTools, InProcess
from toolkit.errors import SandboxUnavailable
from toolkit.tool import Tool, ToolCall, ToolErrorKind, ToolResult

ADD_1_2 = ("add", '{"a": 1, "b": 2}')


class Bench:
    """An agent, the server that it asks and the executor that it uses."""

    def __init__(self, server: ModelServer, client: HttpModelClient, clock: Callable[[], float], **limits: Any) -> None:
        self.server = server
        self.executor = InProcess()
        self.agent = Agent(client, self.executor, AllTools(), LoopConfig(**limits), PromptConfig(), clock=clock)


@contextmanager
def bench(
    *replies: Says, script: Any = None, clock: Callable[[], float] | None = None, **limits: Any
) -> Iterator[Bench]:
    with ModelServer(*replies, script=script) as server, HttpModelClient(server.url) as client:
        yield Bench(server, client, clock or (lambda: 0.0), **limits)


def errors(trajectory: Trajectory) -> list[ToolErrorKind | None]:
    return [result.error.kind if result.error else None for result in trajectory.results]


def test_plain_answer() -> None:
    with bench(Says("Paris.", headers={"x-apprentice-adapter": "adapter-0001"})) as b:
        trajectory = b.agent.run("The capital of France?")
    assert trajectory.answer == "Paris."
    assert trajectory.stop_reason == "answered"
    assert trajectory.adapter == "adapter-0001"
    assert trajectory.tools == ("add", "square", "count")
    assert trajectory.prompt_version == PROMPT_VERSION
    assert trajectory.usage.completion_tokens == 3
    assert [t["function"]["name"] for t in b.server.requests[0]["tools"]] == ["add", "square", "count"]


def test_parallel_then_chained_calls() -> None:
    with bench(Says(calls=[ADD_1_2, ("square", '{"x": 4}')]), Says(calls=[("square", '{"x": 3}')]), Says("9.")) as b:
        trajectory = b.agent.run("work")
    assert [r.value for r in trajectory.results] == [3, 16, 9]
    assert [m.role for m in trajectory.messages] == [
        "user",
        "assistant",
        "tool",
        "tool",
        "assistant",
        "tool",
        "assistant",
    ]
    assert trajectory.usage.prompt_tokens == 30
    sent = b.server.requests[1]["messages"]
    assert [(m["role"], m["content"]) for m in sent[2:]] == [("tool", "3"), ("tool", "16")]


def test_history_comes_first_and_is_kept_apart() -> None:
    history = [Message(role="user", content="I am Ada."), Message(role="assistant", content="Hello Ada.")]
    with bench(Says("Ada.")) as b:
        trajectory = b.agent.run("Who am I?", history=history)
    assert [m["content"] for m in b.server.requests[0]["messages"]] == ["I am Ada.", "Hello Ada.", "Who am I?"]
    assert trajectory.history == tuple(history)
    assert len(trajectory.messages) == 2


def test_a_turn_keeps_the_adapter_that_gave_its_first_reply() -> None:
    def script(request: dict[str, Any]) -> Says:
        first = len(request["messages"]) == 1
        name = "adapter-0001" if first else "adapter-0002"
        headers = {"x-apprentice-adapter": name, "x-apprentice-adapter-sha256": name[-1] * 64}
        return Says(calls=[ADD_1_2], headers=headers) if first else Says("3", headers=headers)

    with bench(script=script) as b:
        trajectory = b.agent.run("add")
    assert [r["model"] for r in b.server.requests] == ["agent", "adapter-0001"]
    assert (trajectory.adapter, trajectory.adapter_sha256) == ("adapter-0001", "1" * 64)


def test_wrong_calls_are_answered_so_that_the_model_can_repair_them() -> None:
    with bench(
        Says(calls=[("plus", "{}"), ("add", '{"a": 1'), ("add", '{"a": 1}')]),
        Says('<tool_call>\n{"name": "add", "arguments": {"a": 1,}}\n</tool_call>'),
        Says(calls=[ADD_1_2]),
        Says("3."),
    ) as b:
        trajectory = b.agent.run("add")
    assert errors(trajectory) == [
        ToolErrorKind.UNKNOWN_TOOL,
        ToolErrorKind.MALFORMED_CALL,
        ToolErrorKind.INVALID_ARGUMENTS,
        ToolErrorKind.MALFORMED_CALL,
        None,
    ]
    assert trajectory.stop_reason == "answered"
    assert b.server.requests[2]["messages"][-1]["content"].startswith(
        "error (malformed_call): write the call as one JSON"
    )


def test_the_same_call_with_the_same_result_is_asked_to_end() -> None:
    with bench(Says(calls=[ADD_1_2]), Says(calls=[ADD_1_2]), Says("It is 3.")) as b:
        trajectory = b.agent.run("add")
    assert [r.get("tool_choice") for r in b.server.requests] == [None, None, "none"]
    assert (trajectory.stop_reason, trajectory.answer) == ("answered", "It is 3.")


def test_a_model_that_insists_on_repeating_is_stopped() -> None:
    with bench(script=lambda _: Says(calls=[ADD_1_2]), max_steps=50) as b:
        trajectory = b.agent.run("add")
    assert trajectory.stop_reason == "repeated_call"
    assert len(b.server.requests) == 3


def test_the_same_call_with_another_result_may_go_on() -> None:
    with bench(script=lambda _: Says(calls=[("count", "{}")]), max_steps=4) as b:
        trajectory = b.agent.run("count")
    assert trajectory.stop_reason == "step_limit"
    assert [r.value for r in trajectory.results] == [1, 2, 3, 4]


def test_step_limit() -> None:
    numbers = iter(range(100))
    with bench(script=lambda _: Says(calls=[("square", f'{{"x": {next(numbers)}}}')]), max_steps=3) as b:
        trajectory = b.agent.run("go on")
    assert trajectory.stop_reason == "step_limit"
    assert len(b.server.requests) == 3
    assert len(trajectory.results) == 3


def test_time_limit_between_steps_and_before_calls() -> None:
    now = [0.0]

    def script(_: dict[str, Any]) -> Says:
        now[0] += 6
        return Says(calls=[("count", "{}")])

    with bench(script=script, clock=lambda: now[0], max_seconds=10) as b:
        trajectory = b.agent.run("go on")
    assert trajectory.stop_reason == "time_limit"
    assert errors(trajectory) == [None, ToolErrorKind.TIMEOUT]
    assert len(b.executor.ran) == 1
    assert trajectory.latency_ms == 12_000


@pytest.mark.parametrize("streamed", [False, True])
def test_time_limit_while_the_model_answers(streamed: bool) -> None:
    import threading

    never = threading.Event()
    with bench(Says("late", wait=never), max_seconds=0.05) as b:
        trajectory = b.agent.run("hi", on_token=(lambda _: None) if streamed else None)
        assert b.server.disconnected.wait(60)
    assert (trajectory.stop_reason, trajectory.error) == ("time_limit", "")


def test_token_limit() -> None:
    with bench(Says("and then and then", finish_reason="length")) as b:
        trajectory = b.agent.run("tell me", on_token=None)
    assert (trajectory.stop_reason, trajectory.answer) == ("token_limit", "and then and then")


def test_streamed_turn_shows_the_text_and_every_message() -> None:
    tokens: list[str] = []
    seen: list[Message] = []
    with bench(Says(calls=[ADD_1_2]), Says("It is 3.")) as b:
        trajectory = b.agent.run("add", on_token=tokens.append, on_message=seen.append)
    assert "".join(tokens) == "It is 3."
    assert len(tokens) > 1
    assert tuple(seen) == trajectory.messages
    assert trajectory.results[0].value == 3


def test_a_refused_request_is_a_failed_turn_and_no_exception() -> None:
    with bench(Says("the prompt is too long", status=400)) as b:
        trajectory = b.agent.run("hi")
    assert trajectory.stop_reason == "failed"
    assert "the prompt is too long" in trajectory.error
    assert trajectory.answer == ""


def test_infrastructure_errors_are_recorded_and_then_raised() -> None:
    recorded: list[Trajectory] = []
    with bench(Says(calls=[ADD_1_2]), Says("starting", status=503)) as b, pytest.raises(ModelUnavailable):
        b.agent.run("add", record=recorded.append)
    (trajectory,) = recorded
    assert trajectory.stop_reason == "failed"
    assert trajectory.error == "ModelUnavailable: starting"
    assert [r.value for r in trajectory.results] == [3]


def test_a_broken_sandbox_is_recorded_and_then_raised() -> None:
    recorded: list[Trajectory] = []
    with bench(Says(calls=[ADD_1_2])) as b:

        def broken(call: ToolCall, *, workspace: Path | None = None) -> ToolResult:
            raise SandboxUnavailable("no namespaces")

        b.executor.execute = broken  # type: ignore[method-assign]
        with pytest.raises(SandboxUnavailable):
            b.agent.run("add", record=recorded.append)
    assert recorded[0].error == "SandboxUnavailable: no namespaces"


def test_every_turn_is_recorded_once() -> None:
    recorded: list[Trajectory] = []
    with bench(Says("hello")) as b:
        trajectory = b.agent.run("hi", record=recorded.append)
    assert recorded == [trajectory]


def test_workspace_and_tools_reach_where_they_should(tmp_path: Path) -> None:
    with bench(Says(calls=[ADD_1_2]), Says("3")) as b:
        trajectory = b.agent.run("add", workspace=tmp_path, tools=[])
    assert b.executor.workspaces == [tmp_path]
    assert trajectory.tools == ()
    assert "tools" not in b.server.requests[0]


def _greeting(name: str) -> Tool:
    text = {"type": "string"}
    parameters = {"type": "object", "properties": {"name": text, "language": text}, "required": ["name"]}
    return Tool(name=name, description=f"{name} somebody.", parameters=parameters)


NAMES = [f"greet{n}" for n in range(10)]
GREETINGS = [_greeting(name) for name in NAMES]


class Found:
    """A search that finds GREETINGS."""

    def top(self, query: str, k: int) -> list[Tool]:
        return GREETINGS[:k]


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
