"""Parts of a logged turn, for judging it. Pure."""

from collections.abc import Iterable

from pydantic import JsonValue

from agent.text.matching import normalised
from agent.turn.messages import Interaction, Message
from evolver.types import Call, Failure, Task, TaskKind, Trace
from toolkit.tool import ToolErrorKind


def length(message: Message) -> int:
    return len(message.content) + sum(len(call.raw) for call in message.tool_calls)


def parsed(message: Message) -> bool:
    return all(call.arguments is not None for call in message.tool_calls)


def good_calls(interaction: Interaction) -> list[tuple[Call, JsonValue]]:
    """Return the calls that ran, with their values."""
    turn = interaction.trajectory
    pairs = zip(turn.calls, turn.results, strict=True)
    return [(Call(name=call.name, arguments=call.arguments or {}), result.value) for call, result in pairs if result.ok]


def failures(interaction: Interaction) -> tuple[Failure, ...]:
    """Return the calls that failed.

    Of those that did not even parse there is no call to show, and where the sandbox lost the worker there is nothing to
    repair.
    """
    turn = interaction.trajectory
    pairs = zip(turn.calls, turn.results, strict=True)
    return tuple(
        Failure(call=Call(name=call.name, arguments=call.arguments), error=result.error)
        for call, result in pairs
        if result.error is not None and result.error.kind is not ToolErrorKind.LOST and call.arguments is not None
    )


def one_by_one(interaction: Interaction) -> bool:
    """Return whether the model saw each result before it made the next call."""
    return all(len(message.tool_calls) <= 1 for message in interaction.trajectory.messages)


def request_of(interaction: Interaction) -> str:
    return interaction.trajectory.messages[0].content.strip()


def called(interaction: Interaction, verdict: str) -> bool:
    """Return whether the last word on the interaction is ``verdict``."""
    return bool(interaction.feedback) and interaction.feedback[-1].verdict == verdict


def likeness(first: Interaction, second: Interaction) -> float:
    one, other = (set(normalised(request_of(interaction)).split()) for interaction in (first, second))
    return len(one & other) / len(one | other) if one | other else 0.0


def task_of(interaction: Interaction, kind: TaskKind, *, client: bool, no_lesson: str = "") -> Task:
    """Return the task of an interaction; ``no_lesson`` is the reason for which it is no trace, "" where it is one."""
    turn = interaction.trajectory
    if turn.stop_reason != "answered" or any(not result.ok for result in turn.results):
        outcome = "failed"
    else:
        outcome = "called" if turn.calls else "answered"
    return Task(
        interaction_id=interaction.id,
        session=interaction.session,
        source=interaction.source,
        owner=interaction.owner,
        tenant=interaction.tenant,
        request=request_of(interaction),
        outcome=outcome,
        kind=kind,
        client=client,
        no_lesson=no_lesson,
    )


def in_order(lessons: Iterable[tuple[TaskKind, Trace | None]]) -> tuple[list[Trace], list[Trace], list[Trace]]:
    """Divide the lessons into corrected ones, those that worked, and repaired ones."""
    found: tuple[list[Trace], list[Trace], list[Trace]] = [], [], []
    for kind, lesson in lessons:
        if lesson is not None:
            found[{"corrected": 0, "repaired": 2}.get(kind, 1)].append(lesson)
    return found
