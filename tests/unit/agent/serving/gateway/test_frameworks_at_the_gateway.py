"""Agent frameworks with tools of their own, in front of a scripted model: the whole turn is logged, linked.

The same frameworks are asked with the real vLLM in tests/integration/real_vllm/test_frameworks.py.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.dialect_door import DialectDoor, dialect_door
from tests.fakes.event_loop import event_loop
from tests.fakes.model_server import Says

pytestmark = pytest.mark.filterwarnings("ignore")  # of other people's packages

SUM = Says(calls=[("add", '{"a": 1, "b": 2}')])
DONE = Says("It is 3.", id="chatcmpl-2")


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DialectDoor]:
    with pytest.MonkeyPatch.context() as patch, dialect_door(tmp_path_factory.mktemp("data")) as opened:
        for switch in ("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2"):
            patch.setenv(switch, "false")
        yield opened


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def assert_the_turn_is_logged(door: DialectDoor) -> None:
    begun, ended = door.logged(2)
    assert ended.continues == begun.id
    assert begun.trajectory.calls[0].arguments == {"a": 1, "b": 2}
    assert float(str(ended.trajectory.results[0].value)) == 3


@pytest.mark.parametrize("responses", [False, True])
def test_langgraph(door: DialectDoor, responses: bool) -> None:
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI
    from langgraph.graph import START, MessagesState, StateGraph
    from langgraph.prebuilt import ToolNode, tools_condition

    own: Any = tool(add)
    plain: Any = ChatOpenAI
    model = plain(model="agent", base_url=f"{door.url}/v1", api_key="none", use_responses_api=responses)
    bound = model.bind_tools([own])
    graph: Any = StateGraph(MessagesState)
    graph.add_node("ask", lambda state: {"messages": [bound.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode([own]))
    graph.add_edge(START, "ask")
    graph.add_conditional_edges("ask", tools_condition)
    graph.add_edge("tools", "ask")
    door.says(SUM, DONE)
    ended = graph.compile().invoke({"messages": [("user", "1 + 2?")]}, {"recursion_limit": 8})
    assert [message.type for message in ended["messages"]] == ["human", "ai", "tool", "ai"]
    assert ended["messages"][-1].text == "It is 3."
    assert_the_turn_is_logged(door)


def test_smolagents(door: DialectDoor) -> None:
    from smolagents import OpenAIModel, ToolCallingAgent, tool

    @tool
    def add(a: int, b: int) -> int:
        """Add two numbers.

        Args:
            a: the first number
            b: the second number
        """
        return a + b

    model = OpenAIModel(model_id="agent", api_base=f"{door.url}/v1", api_key="none")
    agent = ToolCallingAgent(tools=[add], model=model, max_steps=3, verbosity_level=0)
    door.says(SUM, Says(calls=[("final_answer", json.dumps({"answer": "It is 3."}))]))
    assert agent.run("1 + 2?") == "It is 3."
    assert_the_turn_is_logged(door)


@pytest.mark.parametrize("responses", [False, True])
def test_pydantic_ai(door: DialectDoor, responses: bool) -> None:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    provider = OpenAIProvider(base_url=f"{door.url}/v1", api_key="none")
    model = (OpenAIResponsesModel if responses else OpenAIChatModel)("agent", provider=provider)
    agent = Agent(model, tools=[add])
    door.says(SUM, DONE)
    with event_loop():
        assert agent.run_sync("1 + 2?").output == "It is 3."
    assert_the_turn_is_logged(door)
