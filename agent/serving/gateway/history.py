"""The messages that a client sends, as the log has them: each result with its call.

Clients rename the ids of calls, use one id twice or leave it out. A result belongs to the call with its id where only
one has it; else to the one with its name; else, where an assistant's message is followed by as many results as it has
calls, to the one in its place, as chat templates show it to the model. A result that nobody can tell a call for is kept
as text: the turn then has fewer results than calls, which makes it no lesson.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.text import strict_json
from agent.turn.messages import Message
from agent.turn.model_client import parse_call
from toolkit.tool import ToolCall, ToolError, ToolErrorKind, ToolResult

_ERROR = re.compile(r"\s*(error\b|an error occurred|exception\b|traceback \(most recent)", re.IGNORECASE)
"""Beginnings of a failed tool's result in agent frameworks and in apprentice's own loop."""
_LONGEST_ERROR = 2000
_RESULTS = ("tool", "function")
_UNKNOWN = ToolCall(id="", name="", arguments=None)

Sent = Mapping[str, Any]


@dataclass
class _Group:
    """A message and the results that follow it. ``said`` None: the results follow no calls.

    ``answers`` has a result or None for each call, ``loose`` the results that are none of these.
    """

    said: Sent | None
    calls: tuple[ToolCall, ...] = ()
    answers: list[Sent | None] = field(default_factory=list)
    loose: list[Sent] = field(default_factory=list)

    @property
    def sent_ids(self) -> list[str]:
        """The ids of the calls as the client sent them."""
        return [made.get("id") or "" for made in (self.said or {}).get("tool_calls") or ()]


def as_messages(messages: Sequence[Sent]) -> tuple[Message, ...]:
    """Return a request's messages. Results stand in the order of their calls; calls have ids that differ.

    Raises KeyError, TypeError or AttributeError on what is no conversation.
    """
    groups = _groups(messages)
    for group in groups:
        if group.calls:
            _assign(group)
    late = _late(groups)
    return tuple(message for group in groups for message in _messages(group, late))


def with_distinct_ids(message: Message, taken: Collection[str]) -> Message:
    """Return a message whose calls have ids that differ from each other and from those ``taken``."""
    seen = set(taken)
    calls = tuple(_with_distinct_id(call, seen) for call in message.tool_calls)
    return message if calls == message.tool_calls else message.model_copy(update={"tool_calls": calls})


def is_tool_error(text: str) -> bool:
    """Return whether a tool's result says that the tool failed."""
    return _ERROR.match(text) is not None


def text_of(content: str | list[dict[str, Any]] | None) -> str:
    """Return the text of a message's content; parts that are none are named in brackets."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part.get("text") or f"[{part.get('type')}]" for part in content)


def _groups(messages: Sequence[Sent]) -> list[_Group]:
    groups: list[_Group] = []
    seen: set[str] = set()
    for message in messages:
        if message["role"] not in _RESULTS:
            made = message.get("tool_calls") or () if message["role"] == "assistant" else ()
            calls = tuple(_with_distinct_id(_call(one), seen) for one in made)
            groups.append(_Group(message, calls, [None] * len(calls)))
            continue
        if not groups or (groups[-1].said is not None and not groups[-1].calls):
            groups.append(_Group(None))
        groups[-1].loose.append(message)
    return groups


def _assign(group: _Group) -> None:
    """Give each call of a message its result, as far as anybody can tell."""
    group.loose = _by_mark(group.sent_ids, group.answers, group.loose, "tool_call_id")
    group.loose = _by_mark([call.name for call in group.calls], group.answers, group.loose, "name")
    if len(group.loose) == group.answers.count(None):
        rest = iter(group.loose)
        group.answers = [next(rest) if answer is None else answer for answer in group.answers]
        group.loose = []


def _by_mark(marks: Sequence[str], answers: list[Sent | None], results: Sequence[Sent], key: str) -> list[Sent]:
    """Put in ``answers`` each result whose mark one open call and no other result has; return the rest."""
    places = {mark: k for k, mark in enumerate(marks) if answers[k] is None}
    wanted = Counter(mark for mark, answer in zip(marks, answers, strict=True) if answer is None)
    given = Counter(result.get(key) for result in results)
    rest: list[Sent] = []
    for result in results:
        mark = result.get(key) or ""
        if mark and wanted[mark] == given[mark] == 1:
            answers[places[mark]] = result
        else:
            rest.append(result)
    return rest


def _late(groups: Sequence[_Group]) -> dict[int, ToolCall]:
    """Return the calls of results that stand elsewhere than after them, by the ``id()`` of the result."""
    open_calls = [
        (mark, call)
        for group in groups
        for mark, call, answer in zip(group.sent_ids, group.calls, group.answers, strict=True)
        if answer is None
    ]
    answers: list[Sent | None] = [None] * len(open_calls)
    apart = [result for group in groups if group.said is None for result in group.loose]
    _by_mark([mark for mark, _ in open_calls], answers, apart, "tool_call_id")
    found = zip(answers, open_calls, strict=True)
    return {id(answer): call for answer, (_, call) in found if answer is not None}


def _messages(group: _Group, late: Mapping[int, ToolCall]) -> Iterator[Message]:
    if group.said is not None:
        yield _message(group.said, group.calls)
        answered = zip(group.answers, group.calls, strict=True)
        yield from (_result(answer, call) for answer, call in answered if answer is not None)
    for result in group.loose:
        if (call := late.get(id(result))) is not None:
            yield _result(result, call)
            continue
        if group.said is None:
            yield Message(role="assistant", tool_calls=(_UNKNOWN,))
        yield Message(role="tool", content=text_of(result.get("content")))


def _call(made: Sent) -> ToolCall:
    """Return one call of the history. Without arguments it is one with none, as vLLM shows it to the model."""
    name, arguments = made["function"]["name"], made["function"].get("arguments")
    return parse_call(made.get("id") or "", name, arguments or "{}" if name else "")


def _with_distinct_id(call: ToolCall, seen: set[str]) -> ToolCall:
    wanted = call.id or (f"call-{len(seen)}" if call.name else "")
    identity, number = wanted, 2
    while identity and identity in seen:
        identity, number = f"{wanted}~{number}", number + 1
    seen.add(identity)
    return call if identity == call.id else call.model_copy(update={"id": identity})


def _message(message: Sent, calls: tuple[ToolCall, ...]) -> Message:
    content = text_of(message.get("content"))
    match message["role"]:
        case "assistant":
            return Message(role="assistant", content=content, tool_calls=calls)
        case "system" | "developer":
            return Message(role="system", content=content)
        case _:
            return Message(role="user", content=content)


def _result(message: Sent, call: ToolCall) -> Message:
    """Return a result with its call. What came of a call that cannot be read is none, unless it failed."""
    content = text_of(message.get("content"))
    result = None
    if is_tool_error(content):
        error = ToolError(kind=ToolErrorKind.TOOL_FAILED, message=content[:_LONGEST_ERROR])
        result = ToolResult(call_id=call.id, name=call.name, error=error)
    elif call.arguments is not None:
        result = ToolResult(call_id=call.id, name=call.name, value=_value(content))
    return Message(role="tool", content=content, tool_result=result)


def _value(content: str) -> Any:
    try:
        return strict_json.loads(content)
    except ValueError:
        return content
