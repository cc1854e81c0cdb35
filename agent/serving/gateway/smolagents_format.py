"""Calls and results that a client writes as text: smolagents, which sends neither ``tool_calls`` nor tool messages.

What the model called ends an assistant's text, as a Python list after "Calling tools:"; what came of it begins the
user's text, after "Observation:", or "Error:" where it failed. Of a call that raised an exception only the error comes.
Source: smolagents, ``ActionStep.to_messages`` in memory.py.
"""

import ast
import json
import re
from collections.abc import Sequence
from typing import Any

_MARK = "Calling tools:\n"
_CALLS = re.compile(rf"(?:\A|\n){_MARK}(\[.{{1,100000}}\])\Z")
_ID = re.compile(r"'id': '([^'\\]{1,200})'")
_OBSERVED = "Observation:\n"
_FAILED = re.compile(r"(?:Call id: [^\n]*\n)?(?=Error:\n)")
_RETRY = "\nNow let's retry: take care not to repeat previous errors!"
_PLANNED = "Now proceed and carry out this plan."
_NEXT_TASK = "\nNew task:\n"
_UNKNOWN = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}

SEVERAL = "several"
"""Stands for the id of the call, where one text has the results of several: nobody can tell them apart."""


def call_ids(message: dict[str, Any]) -> list[str]:
    """Return the ids of the calls in an assistant's text. Cheap; right only for ids that are known from elsewhere."""
    found = _CALLS.search(_text(message)) if message.get("role") == "assistant" else None
    return _ID.findall(found[1]) if found else []


def goes_on(before: dict[str, Any], message: dict[str, Any]) -> bool:
    """Return whether a user's message is none of the user, but goes on with the turn of the message before it."""
    text = _text(message)
    return text == _PLANNED or (_result(before, text) is not None and _NEXT_TASK not in text)


def latest_result(messages: Sequence[Any]) -> str | None:
    """Return the result with which a request ends; None if it does not end with one."""
    if len(messages) < 2 or not all(isinstance(message, dict) for message in messages[-2:]):
        return None
    before, message = messages[-2:]
    return _result(before, _text(message)) if message.get("role") == "user" else None


def as_messages(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the same conversation in OpenAI's protocol; what is no call or result in text stays as it is.

    The call that an error does not name has no name, no id and no arguments.
    """
    found: list[dict[str, Any]] = []
    for before, message in zip([{}, *messages], messages, strict=False):
        text = _text(message)
        if message["role"] == "assistant" and (calls := _calls(text)):
            found.append({"role": "assistant", "content": text[: text.rindex(_MARK)].strip(), "tool_calls": calls})
        elif (
            message["role"] == "user"
            and before.get("role") == "assistant"
            and (result := _result(before, text)) is not None
        ):
            calls = found[-1].get("tool_calls") or [_UNKNOWN]
            found[-1] = {**found[-1], "tool_calls": calls}
            content, next_task, words = result.partition(_NEXT_TASK)
            call_id = calls[0]["id"] if len(calls) == 1 else SEVERAL
            found.append({"role": "tool", "tool_call_id": call_id, "content": content})
            if next_task:
                found.append({"role": "user", "content": words})
        else:
            found.append(message)
    return found


def _result(before: dict[str, Any], text: str) -> str | None:
    if text.startswith(_OBSERVED) and call_ids(before):
        return text.removeprefix(_OBSERVED)
    failed = _FAILED.match(text) if _RETRY in text else None
    return text[failed.end() :] if failed else None


def _calls(text: str) -> list[dict[str, Any]]:
    written = _CALLS.search(text)
    try:
        return [_call(**call) for call in ast.literal_eval(written[1])] if written else []
    except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError):
        return []


def _call(id: str, type: str, function: dict[str, Any]) -> dict[str, Any]:  # noqa: A002  the keys of a call
    name, arguments = function["name"], function["arguments"]
    if not isinstance(id, str) or not isinstance(name, str):
        raise TypeError(function)
    raw = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": id, "type": type, "function": {"name": name, "arguments": raw}}


def _text(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part.get("text") or "") for part in parts if isinstance(part, dict))
