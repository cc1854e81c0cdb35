"""One turn, against a model server that follows a script."""

from pathlib import Path
from typing import Any

import pytest

from agent.errors import ModelUnavailable
from agent.turn.messages import Message, Trajectory
from agent.turn.prompt import PROMPT_VERSION
from tests.fakes.model_server import Says
from tests.fakes.turn_bench import ADD_1_2, bench, errors
from toolkit.errors import SandboxUnavailable
from toolkit.tool import ToolCall, ToolErrorKind, ToolResult


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
