"""The official clients and agent frameworks as they come from PyPI, pointed at the gateway in front of the real vLLM.

Each is told once to call a tool (the small base model never decides that by itself), runs it on its own side and sends
the result back. What is checked is that this works unchanged, and that the log has the whole turn.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from agent.log.interaction_log import InteractionLog
from agent.serving.gateway.app import Gateway
from agent.serving.gateway.capture_log import CaptureLog
from agent.serving.upstreams.connection import Upstream
from agent.serving.vllm.process import VllmServer
from agent.turn.messages import Interaction
from tests.fakes.event_loop import event_loop
from tests.fakes.model_gateway import running
from tests.fakes.model_tools import ADD
from tests.fakes.waiting import wait_until

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of other people's packages
    pytest.mark.timeout(600),
]
QUESTION = "What is 2 plus 3? Use the tool."


class Door:
    """The gateway's URL, and what it logged."""

    def __init__(self, url: str, log: InteractionLog) -> None:
        self.url = url + "/v1"
        self._log = log

    def logged(self, count: int) -> list[Interaction]:
        """At least ``count`` interactions: the log is written beside answering."""
        wait_until(lambda: self._log.count()[0] >= count)
        return self._log.read()


@pytest.fixture
def door(vllm: VllmServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    """Its log is the test's own: what another test asked last may be written only when the next one has begun."""
    for switch in ("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2"):
        monkeypatch.setenv(switch, "false")
    with InteractionLog(tmp_path / "interactions.db") as log:
        gateway = Gateway(tmp_path, log=CaptureLog(log))
        gateway.pool.replace([Upstream(vllm.url, vllm.api_key, vllm.pid)])
        with running(gateway) as url:
            yield Door(url, log)


def adding(calls: list[tuple[float, float]]) -> Callable[[float, float], float]:
    def add(a: Annotated[float, Field(description="first")], b: Annotated[float, Field(description="second")]) -> float:
        """Add two numbers.

        Args:
            a: the first number
            b: the second number
        """
        calls.append((a, b))
        return a + b

    return add


def assert_the_turn_is_logged(door: Door, calls: list[tuple[float, float]]) -> None:
    """The call, and then the call with its result and the answer, linked."""
    assert len(calls) == 1
    begun, ended = door.logged(2)[:2]
    assert ended.continues == begun.id
    assert begun.trajectory.calls[0].name == ended.trajectory.calls[0].name == "add"
    assert begun.trajectory.calls[0].arguments == {"a": calls[0][0], "b": calls[0][1]}
    (result,) = ended.trajectory.results
    assert (result.name, result.ok) == ("add", True)
    assert float(str(result.value)) == sum(calls[0])
    assert ended.trajectory.messages[-1].role == "assistant"
    assert begun.tool_schemas[0]["function"]["name"] == "add"


class TestOpenAI:
    """The official client."""

    @pytest.fixture
    def client(self, door: Door) -> Iterator[Any]:
        from openai import OpenAI

        with OpenAI(base_url=door.url, api_key="none", max_retries=0, timeout=300) as client:
            yield client

    def test_models_and_completions(self, client: Any) -> None:
        assert {"agent", "base"} <= {model.id for model in client.models.list()}
        assert client.models.retrieve("agent").id == "agent"
        done = client.completions.create(model="agent", prompt="The capital of France is", max_tokens=3, temperature=0)
        assert "Paris" in done.choices[0].text
        pieces = client.completions.create(model="agent", prompt="The capital of France is", max_tokens=3, stream=True)
        assert len(list(pieces)) >= 3

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_turn_with_a_tool(self, client: Any, door: Door, stream: bool) -> None:
        messages: list[Any] = [{"role": "user", "content": QUESTION}]
        asked = {"model": "agent", "tools": [ADD.schema()], "temperature": 0, "max_tokens": 80}
        chosen = {"type": "function", "function": {"name": "add"}}
        if stream:
            with client.chat.completions.stream(**asked, messages=messages, tool_choice=chosen) as events:
                message = events.get_final_completion().choices[0].message
        else:
            message = client.chat.completions.create(**asked, messages=messages, tool_choice=chosen).choices[0].message
        (call,) = message.tool_calls
        arguments = json.loads(call.function.arguments)
        result = adding(calls := [])(**arguments)
        messages += [message, {"role": "tool", "tool_call_id": call.id, "content": str(result)}]
        answer = client.chat.completions.create(**asked, messages=messages, tool_choice="none")
        assert isinstance(answer.choices[0].message.content, str)
        assert answer.usage.completion_tokens > 0
        assert_the_turn_is_logged(door, calls)
        said = client.post("/feedback", cast_to=object, body={"id": answer.id, "verdict": "good"})
        assert said["id"] == door.logged(2)[1].id

    def test_structured_outputs(self, client: Any) -> None:
        class City(BaseModel):
            name: str = Field(max_length=20)
            capital: bool

        answer = client.chat.completions.parse(
            model="agent",
            messages=[{"role": "user", "content": "Describe Paris."}],
            response_format=City,
            temperature=0,
            max_tokens=60,
        )
        assert isinstance(answer.choices[0].message.parsed, City)

    def test_errors_are_the_clients_own(self, client: Any) -> None:
        from openai import BadRequestError, NotFoundError

        with pytest.raises(NotFoundError):
            client.chat.completions.create(model="nobody", messages=[{"role": "user", "content": "hi"}])
        with pytest.raises(BadRequestError):
            client.chat.completions.create(model="agent", messages=[{"role": "user", "content": "hi"}], max_tokens=-1)


@pytest.mark.parametrize("stream", [False, True])
def test_openai_responses(door: Door, stream: bool) -> None:
    from openai import OpenAI

    add = {"type": "function", **ADD.schema()["function"], "strict": False}
    asked: dict[str, Any] = {"model": "agent", "tools": [add], "temperature": 0, "max_output_tokens": 80}
    chosen = {"type": "function", "name": "add"}
    with OpenAI(base_url=door.url, api_key="none", max_retries=0, timeout=300) as client:
        if stream:
            with client.responses.stream(**asked, input=QUESTION, tool_choice=chosen) as events:
                first: Any = events.get_final_response()
        else:
            first = client.responses.create(**asked, input=QUESTION, tool_choice=chosen)
        (call,) = first.output
        output = str(adding(calls := [])(**json.loads(call.arguments)))
        door.logged(1)  # the next request continues what the log holds
        result = {"type": "function_call_output", "call_id": call.call_id, "output": output}
        answer = client.responses.create(**asked, input=[result], previous_response_id=first.id, tool_choice="none")
    assert isinstance(answer.output_text, str)
    assert_the_turn_is_logged(door, calls)


@pytest.mark.parametrize("stream", [False, True])
def test_anthropic(door: Door, stream: bool) -> None:
    from anthropic import Anthropic

    function = ADD.schema()["function"]
    add = {"name": "add", "description": function["description"], "input_schema": function["parameters"]}
    asked: dict[str, Any] = {"model": "agent", "max_tokens": 80, "system": "You add numbers."}
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    first = {**asked, "tools": [add], "tool_choice": {"type": "tool", "name": "add"}, "messages": messages}
    with Anthropic(base_url=door.url.removesuffix("/v1"), api_key="none", max_retries=0, timeout=300) as client:
        if stream:
            with client.messages.stream(**first) as events:
                message: Any = events.get_final_message()
        else:
            message = client.messages.create(**first)
        assert message.stop_reason == "tool_use"
        (call,) = message.content
        output = str(adding(calls := [])(**call.input))
        result = {"type": "tool_result", "tool_use_id": call.id, "content": output}
        messages += [{"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
        answer: Any = client.messages.create(
            **asked,
            tools=[add],
            tool_choice={"type": "none"},
            messages=messages,  # type: ignore[arg-type]
        )
    assert isinstance(answer.content[0].text, str)
    assert_the_turn_is_logged(door, calls)


@pytest.mark.parametrize("stream", [False, True])
def test_langgraph(door: Door, stream: bool) -> None:
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI
    from langgraph.graph import START, MessagesState, StateGraph
    from langgraph.prebuilt import ToolNode, tools_condition

    add = tool(adding(calls := []))
    model = ChatOpenAI(
        model="agent",
        base_url=door.url,
        api_key="none",
        temperature=0,
        max_tokens=80,
        streaming=stream,  # type: ignore[arg-type]
    )
    forced, free = model.bind_tools([add], tool_choice="any"), model.bind_tools([add], tool_choice="none")

    def ask(state: MessagesState) -> dict[str, Any]:
        last = state["messages"][-1]
        return {"messages": [(free if last.type == "tool" else forced).invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("ask", ask)
    graph.add_node("tools", ToolNode([add]))
    graph.add_edge(START, "ask")
    graph.add_conditional_edges("ask", tools_condition)
    graph.add_edge("tools", "ask")
    ended = graph.compile().invoke({"messages": [("user", QUESTION)]}, {"recursion_limit": 8})
    assert [message.type for message in ended["messages"]] == ["human", "ai", "tool", "ai"]
    assert_the_turn_is_logged(door, calls)


@pytest.mark.parametrize("protocol", ["chat completions", "responses"])
def test_openai_agents(door: Door, protocol: str) -> None:
    from agents import (
        Agent,
        ModelSettings,
        OpenAIChatCompletionsModel,
        OpenAIResponsesModel,
        Runner,
        function_tool,
        set_tracing_disabled,
    )
    from openai import AsyncOpenAI

    model = OpenAIResponsesModel if protocol == "responses" else OpenAIChatCompletionsModel

    set_tracing_disabled(True)
    calls: list[tuple[float, float]] = []

    async def ask() -> object:
        # Closed in the loop that it lives in: else its sockets are found open whenever it is collected.
        async with AsyncOpenAI(base_url=door.url, api_key="none", max_retries=0, timeout=300) as client:
            agent = Agent(
                name="adder",
                instructions="You add numbers.",
                tools=[function_tool(adding(calls))],
                model=model(model="agent", openai_client=client),
                model_settings=ModelSettings(tool_choice="required", max_tokens=80, temperature=0),
            )
            return (await Runner.run(agent, QUESTION, max_turns=4)).final_output

    answer = asyncio.run(ask())  # run_sync leaves an open event loop behind
    assert isinstance(answer, str)
    assert_the_turn_is_logged(door, calls)


def test_smolagents(door: Door) -> None:
    from smolagents import OpenAIModel, ToolCallingAgent, tool

    calls: list[tuple[float, float]] = []

    @tool
    def add(a: float, b: float) -> float:
        """Add two numbers.

        Args:
            a: the first number
            b: the second number
        """
        calls.append((a, b))
        return a + b

    def name_the_tool(name: str) -> None:
        model.kwargs["tool_choice"] = {"type": "function", "function": {"name": name}}

    model = OpenAIModel(model_id="agent", api_base=door.url, api_key="none", temperature=0, max_tokens=120)
    name_the_tool("add")
    agent = ToolCallingAgent(
        tools=[add],
        model=model,
        max_steps=2,
        verbosity_level=0,
        step_callbacks=[lambda *_, **__: name_the_tool("final_answer")],
    )
    agent.run(QUESTION)
    assert_the_turn_is_logged(door, calls)
    schemas = door.logged(1)[0].tool_schemas
    assert {schema["function"]["name"] for schema in schemas} == {"add", "final_answer"}


def test_pydantic_ai(door: Door) -> None:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    forced = {"type": "function", "function": {"name": "add"}}
    provider = OpenAIProvider(base_url=door.url, api_key="none")
    settings: Any = {"temperature": 0, "max_tokens": 80, "extra_body": {"tool_choice": forced}}
    own = adding(calls := [])

    class Once(OpenAIChatModel):
        """Chooses the tool for the model in the first request only: the small base model never decides to call."""

        async def request(self, messages: Any, model_settings: Any, model_request_parameters: Any) -> Any:
            wanted = dict(model_settings or {})
            if len(messages) > 1:
                wanted.pop("extra_body", None)
            return await super().request(messages, wanted, model_request_parameters)  # type: ignore[arg-type]

    agent = Agent(Once("agent", provider=provider), tools=[own], model_settings=settings)
    with event_loop():
        assert isinstance(agent.run_sync(QUESTION).output, str)
    assert_the_turn_is_logged(door, calls)
