"""Requests of clients in a suite: asked once as the client asked them, with its tools, its system text and its history.

Nobody runs the client's tools. The calls of the first step count, by their arguments.
"""

import json

from agent.errors import ModelError
from agent.turn.messages import Message, Sampling
from agent.turn.model_client import ModelClient
from agent.turn.prompt import request
from evolver.evaluation.suites import Item
from evolver.lessons.client_tools import tool_of
from evolver.lessons.client_turn import problem
from evolver.scores import ItemScore
from evolver.types import Call, Trace
from toolkit.tool import ToolCall

_SEEN_LENGTH = 300


def item_of(trace: Trace) -> Item:
    """Return the request of a served trace, with the calls of its first step."""
    assert trace.client_turn is not None
    first = trace.client_turn.messages[trace.client_turn.targets[0]]
    return Item(
        id=trace.id,
        request=trace.request,
        expected=tuple(Call(name=call.name, arguments=call.arguments or {}) for call in first.tool_calls),
        tools=trace.client_turn.tools,
        history=trace.history,
    )


def ask(item: Item, client: ModelClient, model: str, max_tokens: int) -> ItemScore:
    """Ask ``model`` for ``item`` and return the score. Raises ModelUnavailable."""
    tools = list(map(tool_of, item.tools))
    messages = [*item.history, Message(role="user", content=item.request)]
    try:
        said = client.chat(request(model, messages, tools, Sampling(max_tokens=max_tokens))).message
    except ModelError:
        return _score(item, Message(role="assistant")).model_copy(update={"failed": True})
    return _score(item, said)


def _score(item: Item, said: Message) -> ItemScore:
    wanted, made = list(item.expected), list(said.tool_calls)
    known = {tool.name: tool for tool in map(tool_of, item.tools)}
    return ItemScore(
        id=item.id,
        needs_tool=bool(wanted),
        exact=bool(wanted) and _same(wanted, made),
        right_tool=bool(wanted) and sorted(call.name for call in wanted) == sorted(call.name for call in made),
        called=bool(made),
        invalid_call=any(call.arguments is None or problem(known.get(call.name), call.arguments) for call in made),
        seen=("; ".join(map(_shown, made)) or said.content)[:_SEEN_LENGTH],
    )


def _same(wanted: list[Call], made: list[ToolCall]) -> bool:
    """Return whether the calls are equal, in any order. 3 equals 3.0."""
    left = [(call.name, call.arguments) for call in made]
    for call in wanted:
        if (call.name, call.arguments) not in left:
            return False
        left.remove((call.name, call.arguments))
    return not left


def _shown(call: ToolCall) -> str:
    return f"{call.name} {json.dumps(call.arguments, ensure_ascii=False)}"
