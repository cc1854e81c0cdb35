"""The agent on real parts: vLLM through the gateway, the tools in their sandbox."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.config import LoopConfig, PromptConfig
from agent.log.interaction_log import InteractionLog
from agent.log.session import Session
from agent.serving.gateway.app import Gateway
from agent.serving.upstreams.connection import Upstream
from agent.serving.vllm.process import VllmServer
from agent.turn.loop import Agent
from agent.turn.messages import Message
from agent.turn.model_client import HttpModelClient, ModelReply
from tests.fakes.model_gateway import running
from toolkit.config import ToolkitConfig
from toolkit.execute import Executor, open_executor
from toolkit.search import ToolIndex


class Insistent(HttpModelClient):
    """Asks for a call in the first reply: the base model makes none of its own."""

    def chat(self, request: dict[str, Any], *, timeout_seconds: float | None = None) -> ModelReply:
        first = request["messages"][-1]["role"] == "user"
        return super().chat(
            {**request, "tool_choice": "required" if first else "none"}, timeout_seconds=timeout_seconds
        )


@pytest.fixture(scope="module")
def url(vllm: VllmServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    gateway = Gateway(tmp_path_factory.mktemp("data"))
    gateway.pool.replace([Upstream(vllm.url, vllm.api_key, vllm.pid)])
    with running(gateway) as address:
        yield address


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    with open_executor(ToolkitConfig()) as opened:
        yield opened


def agent(client: HttpModelClient, executor: Executor, **limits: Any) -> Agent:
    index = ToolIndex(executor.registry)
    return Agent(client, executor, index, LoopConfig(max_seconds=300, **limits), PromptConfig())


def test_a_question_is_answered_and_streamed(url: str, executor: Executor) -> None:
    pieces: list[str] = []
    with HttpModelClient(url) as client:
        trajectory = agent(client, executor).run("What is the capital of France?", on_token=pieces.append)
    assert "Paris" in trajectory.answer
    assert "".join(pieces) == trajectory.answer
    assert (trajectory.stop_reason, trajectory.adapter) == ("answered", "base")
    assert trajectory.usage.prompt_tokens > 0
    assert len(trajectory.tools) == PromptConfig().tools_in_prompt


def test_a_call_runs_in_the_sandbox_and_its_result_goes_back(url: str, executor: Executor) -> None:
    with Insistent(url) as client:
        trajectory = agent(client, executor, max_steps=2).run("What is the square root of 144?")
    assert trajectory.calls
    assert [result.name for result in trajectory.results] == [call.name for call in trajectory.calls]
    assert {call.name for call in trajectory.calls} <= set(trajectory.tools)
    assert all(call.arguments is not None for call in trajectory.calls)
    assert any(result.ok for result in trajectory.results)
    assert trajectory.stop_reason in ("answered", "token_limit")


def test_a_session_is_gone_on_with(url: str, executor: Executor, tmp_path: Path) -> None:
    read = []
    with HttpModelClient(url) as client, InteractionLog(tmp_path / "interactions.db") as log:
        session = Session("s", log, tmp_path, history_turns=3)
        for _ in range(2):
            trajectory = agent(client, executor).run("Hello.", history=session.history(), workspace=session.workspace)
            session.record(trajectory, list(executor.registry))
            read.append(trajectory.usage.prompt_tokens)
    assert trajectory.history[0] == Message(role="user", content="Hello.")
    assert read[1] > read[0] + 5


def test_a_prompt_that_is_too_long_is_a_failed_turn(url: str, executor: Executor) -> None:
    with HttpModelClient(url) as client:
        trajectory = agent(client, executor).run("word " * 20_000)
    assert trajectory.stop_reason == "failed"
    assert "400" in trajectory.error
