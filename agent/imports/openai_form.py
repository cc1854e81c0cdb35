"""OpenAI's forms: chat completions with their requests, and fine-tuning files.

A chat completion is ``{"request": …, "response": …}``, each the body or ``{"body": …}`` as in OpenAI's Batch files, or
one object with ``messages`` and ``choices`` or ``response``. A line of a fine-tuning file has ``messages`` and
``tools`` (or ``functions``); each of its turns is a record. So is each turn of the body of a request alone, which has
further fields: ``model``, ``temperature``.
"""

from collections.abc import Sequence
from typing import Any, TypedDict

from agent.imports.record import ImportReason, Record, Records, as_dict, message_of, number, text, tool_of

_FINETUNING = frozenset({"messages", "tools", "functions", "parallel_tool_calls", "metadata"})
"""Fields of a line of a fine-tuning file; what has others was not written to be learned from."""
_SETTINGS = ("temperature", "top_p", "max_tokens", "max_completion_tokens", "seed")


def chat_completions(line: dict[str, Any]) -> Records:
    """Yield the exchange of a line."""
    request, response = _body(line.get("request", line)), _body(line.get("response", line))
    if not isinstance(request.get("messages"), list):
        yield ImportReason.NO_MESSAGES
        return
    choices = response.get("choices")
    if response.get("error") or not isinstance(choices, list) or not choices:
        yield ImportReason.FAILED if response.get("error") else ImportReason.NO_ANSWER
        return
    first = as_dict(min(choices, key=lambda choice: number(as_dict(choice).get("index"))))
    yield Record(
        form="openai",
        request=_request(request),
        reply=message_of(as_dict(first.get("message"))),
        finish_reason=text(first.get("finish_reason")),
        identity=text(response.get("id")),
        session=text(as_dict(line.get("metadata")).get("session_id")),
        model=text(response.get("model")) or text(request.get("model")),
        usage=as_dict(response.get("usage")),
    )


def finetuning(line: dict[str, Any]) -> Records:
    """Yield the turns of a conversation, each up to the last answer before the next message of a user."""
    messages = line["messages"]
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        yield ImportReason.NO_CONVERSATION
        return
    request, told = _request(line), _Told(model=text(line.get("model")), own=line.keys() <= _FINETUNING)
    messages = request["messages"]
    users = [n for n, message in enumerate(messages) if message.get("role") == "user"]
    if not users:
        yield ImportReason.NO_REQUEST
        return
    for end in (*users[1:], len(messages)):
        yield _turn(request, messages[:end], told)


class _Told(TypedDict):
    """Fields of a line that hold for all its turns."""

    model: str
    own: bool


def _turn(request: dict[str, Any], messages: Sequence[dict[str, Any]], told: _Told) -> Record | ImportReason:
    answers = [n for n, message in enumerate(messages) if message.get("role") == "assistant"]
    users = [n for n, message in enumerate(messages) if message.get("role") == "user"]
    if not answers or answers[-1] < users[-1]:
        return ImportReason.NO_ANSWER
    last = answers[-1]
    asked = {**request, "messages": list(messages[:last])}
    return Record(form="finetuning", request=asked, reply=messages[last], whole=True, **told)


def _request(body: dict[str, Any]) -> dict[str, Any]:
    tools = body.get("tools") or body.get("functions")
    known = {name: body[name] for name in _SETTINGS if body.get(name) is not None}
    offered = {"tools": [tool_of(tool) for tool in tools]} if isinstance(tools, list) and tools else {}
    return {"messages": [message_of(message) for message in body["messages"]], **offered, **known}


def _body(value: Any) -> dict[str, Any]:
    outer = as_dict(value)
    return as_dict(outer["body"]) if "body" in outer else outer
