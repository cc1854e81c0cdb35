"""The desks as applications of LangGraph, of the OpenAI Agents SDK and of smolagents, asked one turn at a time.

The frameworks come from PyPI and are used as their own documentation does. Each runs the tools in this process. Of the
earlier turns of a conversation each shows the model the texts: requests and answers.
"""

import asyncio
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import Field

from agent.errors import ModelUnavailable
from benchmarks.clients.desk import Desk
from evolver.types import Call
from toolkit.describing import describe
from toolkit.frozen import Frozen

STEPS = 4
"""Requests to the model in one turn, at most."""
_MAX_TOKENS = 160
_SECONDS = 300.0
Earlier = Sequence[tuple[str, str]]
"""Requests and answers of the turns before."""
_FINAL = "final_answer"
"""The tool with which smolagents' model ends a turn."""


class Door(Frozen):
    """How an application reaches the gateway: its base URL without /v1, key, model, headers of a request, and how often
    one that failed is sent again."""

    url: str
    key: str
    model: str
    headers: dict[str, str] = Field(default_factory=dict)
    retries: int = 2


class Answer(Frozen):
    """What the application got: the calls that the model made, the text, and what went wrong ("" if nothing did).

    A call whose arguments are no object is one with none.
    """

    calls: tuple[Call, ...] = ()
    text: str = ""
    problem: str = ""


def ask(framework: str, desk: Desk, request: str, door: Door, earlier: Earlier = ()) -> Answer:
    """Put one request to the application and return what it got. An error of the framework is a problem of the answer.

    Raises ModelUnavailable where the gateway cannot be reached or fails: that says nothing of the model.
    """
    try:
        return _ASK[framework](desk, request, door, earlier)
    except Exception as error:  # noqa: BLE001  # each framework has its own, and the next request is to be asked
        return Answer(problem=_problem(error))


def _problem(error: BaseException) -> str:
    """Return the name of an error. Raises ModelUnavailable where the gateway is behind it."""
    from openai import APIConnectionError, InternalServerError

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, APIConnectionError | InternalServerError):
            raise ModelUnavailable(f"the gateway failed: {cause}; run the same again") from error
        cause = cause.__cause__ or cause.__context__
    return f"{type(error).__name__}: {str(error)[:200]}"


def _langgraph(desk: Desk, request: str, door: Door, earlier: Earlier) -> Answer:
    os.environ.setdefault("LANGSMITH_TRACING", "false")
    from langchain_core.tools import StructuredTool
    from langchain_openai import ChatOpenAI
    from langgraph.graph import START, MessagesState, StateGraph
    from langgraph.prebuilt import ToolNode, tools_condition

    tools = [StructuredTool.from_function(tool, parse_docstring=True) for tool in desk.tools()]
    model = ChatOpenAI(
        model=door.model,
        base_url=f"{door.url}/v1",
        api_key=door.key,  # type: ignore[arg-type]
        temperature=0,
        max_tokens=_MAX_TOKENS,  # type: ignore[call-arg]
        timeout=_SECONDS,
        max_retries=door.retries,
        default_headers=door.headers,
    ).bind_tools(tools)

    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("answer", answer)
    graph.add_node("tools", ToolNode(tools, handle_tool_errors=True))
    graph.add_edge(START, "answer")
    graph.add_conditional_edges("answer", tools_condition)
    graph.add_edge("tools", "answer")
    before = [message for asked, answered in earlier for message in (("user", asked), ("ai", answered))]
    told: list[Any] = [("system", desk.instructions), *before, ("user", request)]
    seen: Sequence[Any] = []
    problem = ""
    try:
        for state in graph.compile().stream({"messages": told}, {"recursion_limit": 2 * STEPS}, stream_mode="values"):
            seen = state["messages"]
    except Exception as error:  # noqa: BLE001  # the calls until then count
        problem = _problem(error)
    said = [message for message in seen[len(told) :] if message.type == "ai"]
    calls = _calls((call["name"], call["args"]) for one in said for call in one.tool_calls)
    broken = _calls((call["name"], None) for one in said for call in one.invalid_tool_calls)
    return Answer(calls=(*calls, *broken), text=str(said[-1].content) if said else "", problem=problem)


def _openai_agents(desk: Desk, request: str, door: Door, earlier: Earlier) -> Answer:
    from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
    from agents.exceptions import AgentsException
    from openai import AsyncOpenAI

    set_tracing_disabled(True)

    async def run() -> Answer:
        async with AsyncOpenAI(
            base_url=f"{door.url}/v1",
            api_key=door.key,
            timeout=_SECONDS,
            max_retries=door.retries,
            default_headers=door.headers,
        ) as client:
            agent = Agent(
                name=type(desk).__name__,
                instructions=desk.instructions,
                tools=[function_tool(tool) for tool in desk.tools()],
                model=OpenAIChatCompletionsModel(model=door.model, openai_client=client),
                model_settings=ModelSettings(max_tokens=_MAX_TOKENS, temperature=0),
            )
            try:
                done = await Runner.run(agent, _as_input(request, earlier), max_turns=STEPS)
            except AgentsException as error:
                items = error.run_data.new_items if error.run_data else []
                return Answer(calls=_of_items(items), problem=type(error).__name__)
            return Answer(calls=_of_items(done.new_items), text=str(done.final_output))

    return asyncio.run(run())


def _as_input(request: str, earlier: Earlier) -> Any:
    """Return the messages of a conversation as input items of the Agents SDK."""
    pairs = [(("user", asked), ("assistant", answered)) for asked, answered in earlier]
    before = [{"role": role, "content": text} for pair in pairs for role, text in pair]
    return [*before, {"role": "user", "content": request}]


def _smolagents(desk: Desk, request: str, door: Door, earlier: Earlier) -> Answer:
    from smolagents import OpenAIModel, ToolCallingAgent

    model = OpenAIModel(
        model_id=door.model,
        api_base=f"{door.url}/v1",
        api_key=door.key,
        client_kwargs={"timeout": _SECONDS, "max_retries": door.retries, "default_headers": door.headers},
        retry=False,  # the client does that
        temperature=0,
        max_tokens=_MAX_TOKENS,
    )
    agent = ToolCallingAgent(
        tools=[_smolagents_tool(tool) for tool in desk.tools()], model=model, max_steps=STEPS, verbosity_level=0
    )
    # As its documentation advises for small models: the shipped text alone has some thousand tokens.
    agent.prompt_templates["system_prompt"] = f"{desk.instructions} When you have the answer, call {_FINAL}."
    agent.memory.steps = list(_as_memory(earlier))
    answer = agent.run(request, reset=False)
    done: list[Any] = agent.memory.steps[2 * len(earlier) :]
    steps = [step for step in done if getattr(step, "tool_calls", None)]
    made = [(call.name, call.arguments) for step in steps for call in step.tool_calls if call.name != _FINAL]
    failed = [step.error for step in done if getattr(step, "error", None)]
    return Answer(calls=_calls(made), text=str(answer), problem=type(failed[-1]).__name__ if failed else "")


def _as_memory(earlier: Earlier) -> Iterable[Any]:
    """Yield two steps of smolagents for each turn of a conversation."""
    from smolagents.memory import ActionStep, TaskStep
    from smolagents.monitoring import Timing

    for asked, answered in earlier:
        yield TaskStep(task=asked)
        yield ActionStep(step_number=1, timing=Timing(0.0, 0.0), model_output=answered)


def _smolagents_tool(function: Callable[..., Any]) -> Any:
    """Return the tool of smolagents for a function with type hints and a docstring."""
    from smolagents import Tool

    described = describe(function)
    properties: Any = described.parameters["properties"]
    kind = type(
        described.name,
        (Tool,),
        {
            "name": described.name,
            "description": described.description,
            "inputs": {
                name: {"type": one["type"], "description": one["description"]} for name, one in properties.items()
            },
            "output_type": "any",
            "skip_forward_signature_validation": True,
            "forward": lambda self, **arguments: function(**arguments),
        },
    )
    return kind()


def _of_items(items: Iterable[Any]) -> tuple[Call, ...]:
    made = [item.raw_item for item in items if item.type == "tool_call_item"]
    return _calls((call.name, call.arguments) for call in made)


def _calls(made: Iterable[tuple[str, Any]]) -> tuple[Call, ...]:
    return tuple(Call(name=name, arguments=_object(arguments)) for name, arguments in made)


def _object(arguments: Any) -> dict[str, Any]:
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            return {}
    return dict(arguments) if isinstance(arguments, Mapping) else {}


_ASK: dict[str, Callable[[Desk, str, Door, Earlier], Answer]] = {
    "LangGraph": _langgraph,
    "OpenAI Agents SDK": _openai_agents,
    "smolagents": _smolagents,
}
