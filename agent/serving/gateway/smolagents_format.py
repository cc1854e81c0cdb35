"""Calls and results that a client writes as text: smolagents, which sends neither ``tool_calls`` nor tool messages.

What the model called ends an assistant's text, as a Python list after "Calling tools:"; its result begins the
user's text, after "Observation:", or "Error:" where it failed. Of a call that raised an exception only the error comes.
Source: smolagents, ``ActionStep.to_messages`` in memory.py.
"""

import ast
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from agent.text import strict_json

_MARK = "Calling tools:\n"
_CALLS = re.compile(rf"(?:\A|\n){_MARK}(\[.{{1,100000}}\])\Z")
_ID = re.compile(r"'id': '([^'\\]{1,200})'")
_CALL_ID = re.compile(r"Call id: ([^\n]*)\nError:\n")
_OBSERVED = "Observation:\n"
_FAILED = re.compile(r"(?:Call id: [^\n]*\n)?(?=Error:\n)")
_RETRY = "\nNow let's retry: take care not to repeat previous errors!"
_PLANNED = "Now proceed and carry out this plan."
_NEXT_TASK = "\nNew task:\n"
_FUNCTION = "'function': {'name': "
_FINAL = re.compile(r"\[\{'id': '[^'\\]{1,200}', 'type': 'function', " + re.escape(_FUNCTION) + "'final_answer', ")
_LONGEST_READ, _MOST_READ = 30_000, 300_000
"""Characters of a list of calls, and of all of one conversation, that are read: to read Python is slow, and while a
list is parsed no other thread runs."""
_UNKNOWN = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}

SEVERAL = "several"
"""Stands for the id of the call, where one text has the results of several: nobody can tell them apart."""


def has_calls(messages: Sequence[dict[str, Any]]) -> bool:
    """Return whether any message could hold calls in text. Cheap."""
    return any(_MARK in _text(message) for message in messages)


def call_ids(message: dict[str, Any]) -> list[str]:
    """Return the ids of the calls in an assistant's text. Cheap; right only for ids that are known from elsewhere."""
    found = _CALLS.search(_text(message)) if message.get("role") == "assistant" else None
    return _ID.findall(found[1]) if found else []


def goes_on(before: dict[str, Any], message: dict[str, Any]) -> bool:
    """Return whether a user's message is none of the user, but goes on with the turn of the message before it."""
    text = _text(message)
    if text == _PLANNED:
        return True
    return _result(before, text) is not None and not (_NEXT_TASK in text and _ends_task(before))


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
    for before, message, written in zip([{}, *messages], messages, _written(messages), strict=False):
        text = _text(message)
        if message["role"] == "assistant" and (calls := _calls(written)):
            found.append({"role": "assistant", "content": text[: text.rindex(_MARK)].strip(), "tool_calls": calls})
        elif (
            message["role"] == "user"
            and before.get("role") == "assistant"
            and (result := _result(before, text)) is not None
        ):
            calls = found[-1].get("tool_calls") or [_UNKNOWN]
            found[-1] = {**found[-1], "tool_calls": calls}
            content, task = _parted(before, result, calls[0])
            call_id = calls[0]["id"] if len(calls) == 1 else SEVERAL
            found.append({"role": "tool", "tool_call_id": call_id, "content": content})
            found += [{"role": "user", "content": task}] if task else []
        else:
            found.append(message)
    return found


def as_shown(messages: Sequence[dict[str, Any]], *, task_after_result: bool = True) -> list[dict[str, Any]]:
    """Return the conversation as a model is shown it, which is as lessons of it are: calls and results in OpenAI's
    protocol where they could be written back to the same text, all else as it is.

    Results of several calls in one text are one message, after all of them. Without ``task_after_result``, a last call,
    its result and the task that follows stay text: there are chat templates that refuse a user's message there.
    """
    found: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for before, message, written in zip([{}, *messages], messages, _written(messages), strict=False):
        text, role = _text(message), message.get("role")
        result = _result(before, text) if calls and role == "user" and _is_text(message) else None
        made, calls = calls, []
        if result is not None and _belongs(text, made):
            content, task = _parted(before, result, made[0])
            told = [{"role": "tool", "tool_call_id": made[-1]["id"], "content": content}]
            if task and task_after_result:
                told.append({"role": "user", "content": task})
            elif task:
                told, found[-1] = [message], before
            found += told
        elif role == "assistant" and _is_text(message) and (calls := _exact_calls(written)):
            said = text[: text.rindex(_MARK)].strip()
            found.append({**message, "content": said, "tool_calls": calls})
        else:
            found.append(message)
    return found


def _is_text(message: dict[str, Any]) -> bool:
    """Return whether a message is text and nothing beside it."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [] if isinstance(content, str) else [None]
    return "tool_calls" not in message and all(isinstance(one, dict) and one.get("type") == "text" for one in parts)


def _belongs(text: str, calls: Sequence[dict[str, Any]]) -> bool:
    """Return whether the call that a text names, if it names one, is one of these."""
    named = _CALL_ID.match(text)
    return named is None or any(named[1] == call["id"] for call in calls)


def _ends_task(message: dict[str, Any]) -> bool:
    """Return whether the one call of an assistant's text is the one that ends a task. Cheap."""
    found = _CALLS.search(_text(message)) if message.get("role") == "assistant" else None
    return found is not None and _FINAL.match(found[1]) is not None and found[1].count(_FUNCTION) == 1


def _parted(before: dict[str, Any], result: str, call: dict[str, Any]) -> tuple[str, str]:
    """Return what a call returned, and the task that the user gave next ("": none), of the text that holds both.

    A task follows only where the last one ended: other tools could return such words, and so could the model.
    """
    if not _ends_task(before):
        return result, ""
    given = _arguments(call)
    answer = str(given["answer"]).strip() if isinstance(given, dict) and "answer" in given else None
    known = answer is not None and result.startswith(f"{answer}{_NEXT_TASK}")
    at = len(answer) if answer is not None and known else result.rfind(_NEXT_TASK)
    return (result[:at], result[at:].lstrip()) if at >= 0 else (result, "")


def _written(messages: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the list of calls that ends each message, "" for none and for one that is too long to be read."""
    left = _MOST_READ
    for message in messages:
        found = _CALLS.search(_text(message)) if message.get("role") == "assistant" else None
        written = found[1] if found and len(found[1]) <= min(left, _LONGEST_READ) else ""
        left -= len(written)
        yield written


def _exact_calls(written: str) -> list[dict[str, Any]]:
    """Return the calls in a list if smolagents would write them so; else none."""
    if not (calls := _calls(written)):
        return []
    back = [{**call, "function": {**call["function"], "arguments": _arguments(call)}} for call in calls]
    return calls if str(back) == written and all(call["function"]["name"] for call in calls) else []


def _arguments(call: dict[str, Any]) -> Any:
    try:
        return strict_json.loads(call["function"]["arguments"])
    except ValueError:
        return None


def _result(before: dict[str, Any], text: str) -> str | None:
    if text.startswith(_OBSERVED) and call_ids(before):
        return text.removeprefix(_OBSERVED)
    failed = _FAILED.match(text) if _RETRY in text else None
    return text[failed.end() :] if failed else None


def _calls(written: str) -> list[dict[str, Any]]:
    try:
        return [_call(**call) for call in ast.literal_eval(written)] if written else []
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
