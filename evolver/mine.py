"""The interaction log -> tasks: what people asked, and which turns can serve as lessons as they are."""

from collections import Counter
from collections.abc import Sequence

from agent.messages import Interaction
from evolver.config import MineConfig
from evolver.text import normalised
from evolver.types import Call, Mined, Task, Trace


def mine(config: MineConfig, interactions: Sequence[Interaction]) -> Mined:
    """Tasks in the order of the log, each request once, at most ``per_session`` from a session.

    A turn whose calls all ran without error, that was answered, and that nobody called bad, is also a trace; calls
    whose results the log does not have (an outside client ran them) make none.
    """
    tasks: list[Task] = []
    worked: list[Trace] = []
    seen: set[str] = set()
    per_session: Counter[str] = Counter()
    for interaction in interactions:
        request = interaction.trajectory.messages[0].content.strip()
        key = normalised(request)
        session = f"{interaction.source}/{interaction.session}"
        if not key or key in seen or per_session[session] >= config.per_session or _is_bad(interaction):
            continue
        seen.add(key)
        per_session[session] += 1
        tasks.append(_task(interaction, request))
        turn = interaction.trajectory
        if tasks[-1].outcome == "called" and not turn.history and len(turn.results) == len(turn.calls):
            worked.append(_trace(interaction, request))
    last = interactions[-1].id if interactions else ""
    return Mined(interactions=len(interactions), last_interaction_id=last, tasks=tuple(tasks), worked=tuple(worked))


def _is_bad(interaction: Interaction) -> bool:
    return any(feedback.verdict == "bad" for feedback in interaction.feedback)


def _task(interaction: Interaction, request: str) -> Task:
    turn = interaction.trajectory
    if turn.stop_reason != "answered" or any(not result.ok for result in turn.results):
        outcome = "failed"
    else:
        outcome = "called" if turn.calls else "answered"
    return Task(
        interaction_id=interaction.id,
        session=interaction.session,
        source=interaction.source,
        request=request,
        outcome=outcome,
    )


def _trace(interaction: Interaction, request: str) -> Trace:
    turn = interaction.trajectory
    return Trace(
        id=f"log-{interaction.id}",
        maker="log",
        request=request,
        calls=tuple(Call(name=call.name, arguments=call.arguments or {}) for call in turn.calls),
        results=tuple(result.value for result in turn.results),
        answer=turn.answer,
        origin=interaction.id,
    )
