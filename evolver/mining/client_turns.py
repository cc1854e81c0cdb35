"""Turns of clients that bring tools of their own and run them -> traces, as they were served. Pure.

Nothing is executed. What the log says of a call is kept with the trace: signs that it was right, and a doubt.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from agent.log.corrections import Expected
from agent.log.entries import COMPLETIONS_SOURCE, OWN_SOURCES
from agent.log.queries import session_of
from agent.text.matching import normalised
from agent.turn.messages import Interaction, Message
from evolver.lessons.client_tools import OwnTools
from evolver.lessons.drop_reason import DropReason
from evolver.store.sessions import asks_again
from evolver.text.logged_results import finds_nothing, says_failure
from evolver.types import Call, ClientTurn, Failure, Frozen, Provenance, Sign, Trace, TraceKind
from toolkit.tool import ToolCall, ToolError, ToolErrorKind, ToolResult

Schemas = Sequence[dict[str, Any]]

_OBJECTS = re.compile(
    r"\s*(?:no[,.! ]|nope\b|wrong\b|(?:that|this|it)(?:'s| is| was)(?:n't| not| wrong| incorrect)\b|"
    r"not (?:that|this|what|the)\b|i (?:meant|asked for|did ?n[o']t (?:mean|ask))\b|undo\b|revert\b|try again\b)",
    re.IGNORECASE,
)
"""Beginnings of requests of people who are not content with an answer."""
_TELLING = 4
"""Letters of a word that hardly stands in an answer by chance."""
_FINAL, _ANSWER = "final_answer", "answer"
"""The tool with which a turn of smolagents ends, and its one parameter: no result of it ever comes back."""


class _LastCall(Message):
    """The end of a turn by a ``call`` that brings its answer; ``content`` is that answer."""

    call: ToolCall


class Agreement(Frozen):
    """Turns of a client with one request: in how many conversations they made ``same`` calls, and ``others``."""

    same: int = 1
    others: int = 0


def is_clients(turn: Interaction, own: OwnTools, schemas: Schemas | None = None) -> bool:
    """Return whether a client brought a tool that is none of ``own``. Without the ``schemas`` by names alone."""
    if turn.source in OWN_SOURCES or turn.source == COMPLETIONS_SOURCE:
        return False
    if schemas is None:
        return not own.names.issuperset(turn.trajectory.tools)
    return not all(map(own.has, schemas))


def with_failures(turn: Interaction) -> Interaction:
    """Return a client's turn with an error in place of each result that says that its call failed, and with the answer
    in place of a last call that brings it."""
    if turn.source in OWN_SOURCES:
        return turn
    *before, last = map(_with_failure, turn.trajectory.messages)
    messages = (*before, _with_answer(last))
    if messages == turn.trajectory.messages:
        return turn
    return turn.model_copy(update={"trajectory": turn.trajectory.model_copy(update={"messages": messages})})


def made_by(turn: Interaction) -> bytes:
    """Return a key that is equal for turns with equal calls."""
    calls = [[call.name, call.arguments] for call in turn.trajectory.calls]
    return json.dumps(sorted(calls, key=str), sort_keys=True).encode()


def objects(earlier: Interaction, later: Sequence[Interaction]) -> bool:
    """Return whether the next turn of the conversation objects to the answer."""
    return any(_OBJECTS.match(one.trajectory.messages[0].content) for one in _next(earlier, later))


def client_trace(
    turn: Interaction,
    schemas: Schemas,
    before: Sequence[Interaction],
    later: Sequence[Interaction],
    *,
    kind: TraceKind,
    expected: Expected | None = None,
    repair: Interaction | None = None,
    agreement: Agreement,
) -> Trace | None:
    """Return the trace of a client's ``turn`` with these tools, or None where nothing in it can be learned.

    ``before`` are the turns of its history, ``later`` those after it. ``repair`` and ``expected`` replace its calls."""
    messages, targets = _learned(turn, expected, repair)
    calls = [call for place in targets for call in messages[place].tool_calls]
    if not targets or _is_unclear((*turn.trajectory.history, *messages), calls):
        return None
    results = {one.tool_result.call_id: one.tool_result for one in messages if one.tool_result is not None}
    came = [results[call.id].value for call in calls if call.id in results]
    others = [repair] if repair is not None and repair is not turn else []
    return Trace(
        id=f"{kind}-{turn.id}",
        kind=kind,
        provenance=_provenance(turn, kind, repair or turn, [*others, *before], keeps=isinstance(expected, str)),
        request=turn.trajectory.messages[0].content.strip(),
        calls=tuple(Call(name=call.name, arguments=call.arguments or {}) for call in calls),
        results=tuple(came),
        answer="" if messages[targets[-1]].tool_calls else messages[targets[-1]].content,
        history=turn.trajectory.history,
        sequential=sum(bool(messages[place].tool_calls) for place in targets) > 1,
        failures=tuple(_failures(messages[: targets[0]], results)),
        client_turn=ClientTurn(
            tools=tuple(schemas),
            messages=tuple(map(_as_served, messages)),
            targets=targets,
            signs=_signs(turn, later, agreement, others),
            doubt="" if others else _doubt(turn, later, agreement),
        ),
    )


def _is_unclear(messages: Sequence[Message], calls: Sequence[ToolCall]) -> bool:
    """Return whether one of ``calls`` does not parse, or something came of a call that nobody can tell, which the model
    was shown as text."""
    unread = any(call.arguments is None for call in calls)
    return unread or any(not call.name for message in messages for call in message.tool_calls)


def _provenance(
    turn: Interaction, kind: TraceKind, made: Interaction, others: Sequence[Interaction], *, keeps: bool
) -> Provenance:
    """Return the provenance of a trace. The calls are of the turn ``made``, unless a person expected others. A
    corrected turn ``keeps`` its calls where only the answer was expected."""
    corrected = kind == TraceKind.CORRECTED
    return Provenance(
        model="" if corrected and not (keeps and turn.trajectory.calls) else made.trajectory.adapter,
        interaction_id=turn.id,
        session="/".join(session_of(turn)),
        calls_interaction_id="" if corrected else made.id,
        other_interaction_ids=tuple(one.id for one in others),
        not_executed=True,
    )


def _learned(
    turn: Interaction, expected: Expected | None, repair: Interaction | None
) -> tuple[tuple[Message, ...], tuple[int, ...]]:
    """Return the messages of the turn, as far as they are needed, and the places of those that can be learned."""
    messages = turn.trajectory.messages
    if expected is not None and not isinstance(expected, str):
        made = tuple(ToolCall(id=f"call-{n}", **call.model_dump()) for n, call in enumerate(expected))
        return (messages[0], Message(role="assistant", tool_calls=made)), (1,)
    if repair is not None and repair is not turn:
        first = next((one for one in repair.trajectory.messages if one.tool_calls), None)
        return ((messages[0], first), (1,)) if first is not None else ((messages[0],), ())
    steps, last = tuple(_steps(messages)), len(messages) - 1
    if isinstance(expected, str):
        corrected = (*messages[:-1], Message(role="assistant", content=expected))
        return corrected, (*steps, last)
    answered = messages[last].role == "assistant" and not messages[last].tool_calls
    if answered and (tells(turn) if turn.trajectory.calls else _is_good(turn)):
        return messages, (*steps, last)
    return messages[: steps[-1] + 1] if steps else messages, steps


def _steps(messages: Sequence[Message]) -> Iterable[int]:
    """Yield the places of the messages all of whose calls worked; one that found nothing did not, where its tool was
    called once more."""
    results = {one.tool_result.call_id: one.tool_result for one in messages if one.tool_result is not None}
    for place, message in enumerate(messages):
        again = {call.name for later in messages[place + 1 :] for call in later.tool_calls}
        came = [results.get(call.id) for call in message.tool_calls]
        if came and all(one and one.ok and not (one.name in again and finds_nothing(one.value)) for one in came):
            yield place


def tells(turn: Interaction) -> bool:
    """Return whether the answer says what only the results could say: a number or name, or two longer words."""
    trajectory = turn.trajectory
    said = [message.content for message in (*trajectory.history, trajectory.messages[0])]
    known = set(normalised(" ".join(said)).split())
    shown = set(normalised(" ".join(one.content for one in trajectory.messages if one.role == "tool")).split())
    new = (shown - known) & set(normalised(trajectory.answer).split())
    telling = [word for word in new if len(word) >= _TELLING]
    return len(telling) > 1 or any(any(char.isdigit() for char in word) for word in new)


def _signs(
    turn: Interaction, later: Sequence[Interaction], agreement: Agreement, others: Sequence[Interaction]
) -> tuple[Sign, ...]:
    following = list(_next(turn, later))
    went_on = bool(following) and not asks_again(turn, following[0]) and not objects(turn, following)
    found: dict[Sign, bool] = {
        "called good": any(map(_is_good, [turn, *others])),
        "result told": any(map(tells, others or [turn])),
        "went on": went_on and not others,
        "agreed": agreement.same > 1 and agreement.same > agreement.others,
    }
    return tuple(sign for sign, holds in found.items() if holds)


def _doubt(turn: Interaction, later: Sequence[Interaction], agreement: Agreement) -> str:
    """Return the drop reason that stands against a turn that nobody called good, or ""."""
    if _is_good(turn):
        return ""
    calls = [(call.name, json.dumps(call.arguments, sort_keys=True)) for call in turn.trajectory.calls]
    if len(set(calls)) < len(calls):
        return DropReason.CALL_REPEATED.value
    if objects(turn, later):
        return DropReason.OBJECTED_TO.value
    return DropReason.TURNS_DISAGREE.value if agreement.others >= agreement.same else ""


def _is_good(turn: Interaction) -> bool:
    return bool(turn.feedback) and turn.feedback[-1].verdict == "good"


def _next(turn: Interaction, later: Sequence[Interaction]) -> Iterable[Interaction]:
    """Yield the turn that goes on with the conversation: its history holds this turn's request."""
    asked = turn.trajectory.messages[0].content
    following = later[:1]
    return (one for one in following if any(message.content == asked for message in one.trajectory.history))


def _failures(messages: Sequence[Message], results: dict[str, ToolResult]) -> Iterable[Failure]:
    for call in (call for message in messages for call in message.tool_calls):
        error = results[call.id].error if call.id in results else None
        if error is not None and call.arguments is not None:
            yield Failure(call=Call(name=call.name, arguments=call.arguments), error=error)


def _with_answer(last: Message) -> Message:
    call = last.tool_calls[0] if len(last.tool_calls) == 1 else None
    if call is None or call.name != _FINAL or call.arguments is None or call.arguments.keys() != {_ANSWER}:
        return last
    answer = call.arguments[_ANSWER]
    return _LastCall(role="assistant", content=answer if isinstance(answer, str) else json.dumps(answer), call=call)


def _as_served(message: Message) -> Message:
    return Message(role="assistant", tool_calls=(message.call,)) if isinstance(message, _LastCall) else message


def _with_failure(message: Message) -> Message:
    result = message.tool_result
    if result is None or result.error is not None or not says_failure(result.value):
        return message
    error = ToolError(kind=ToolErrorKind.TOOL_FAILED, message=message.content[:2000])
    failed = result.model_copy(update={"value": None, "error": error})
    return message.model_copy(update={"tool_result": failed})
