"""Turns as people lived them, and what goes wrong in one; for what compares adapters by the log."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from agent.log.queries import SessionKey, session_of
from agent.text.matching import same_question
from agent.turn.messages import Interaction, is_foreign
from toolkit.tool import ToolErrorKind, ToolResult

ASKS_AGAIN_SECONDS = 600.0

IsSo = Callable[[Interaction], bool]


def asks_again(earlier: Interaction, later: Interaction) -> bool:
    """Return whether ``later``, the next turn of the session, puts the question of ``earlier`` once more."""
    requests = (turn.trajectory.messages[0].content for turn in (earlier, later))
    return later.created_at - earlier.created_at < ASKS_AGAIN_SECONDS and same_question(*requests)


def whole_turns(interactions: Sequence[Interaction]) -> list[Interaction]:
    """Return one interaction per turn, in the order in which they ended.

    A client with tools of its own asks several times in one turn, and each exchange is logged; the last one has all
    messages. It stands for the turn, with the feedback on every part and the time of all of them. No turn goes on with
    one of another tenant or owner.
    """
    parts = {_place(one.id, one): one for one in interactions}
    gone_on_with = {_place(one.continues, one) for one in interactions}
    found = []
    for interaction in interactions:
        if _place(interaction.id, interaction) in gone_on_with:
            continue
        turn = interaction
        while (earlier := parts.get(_place(turn.continues, turn))) is not None and earlier.id < turn.id:
            latency_ms = earlier.trajectory.latency_ms + turn.trajectory.latency_ms
            began, ended = earlier.trajectory.adapter, turn.trajectory.adapter
            turn = turn.model_copy(
                update={
                    "continues": earlier.continues,
                    "created_at": earlier.created_at,
                    "feedback": (*earlier.feedback, *turn.feedback),
                    "trajectory": turn.trajectory.model_copy(
                        update={"latency_ms": latency_ms, "adapter": began if is_foreign(began) else ended}
                    ),
                    "id": earlier.id,
                }
            )
        found.append(turn.model_copy(update={"id": interaction.id}))
    return found


def _place(identity: str, whose: Interaction) -> tuple[str, str, str]:
    return whose.tenant, whose.owner, identity


def troubles(turns: Iterable[Interaction]) -> Mapping[str, IsSo]:
    """Return a check for each kind of trouble in ``turns``, by a name that continues a sentence with "turns".

    A call whose worker was lost says nothing about the model that made it.
    """
    asked_again = _asked_again(turns)
    return {
        "not answered": lambda turn: turn.trajectory.stop_reason != "answered",
        "with a failed call": lambda turn: any(map(_failed, turn.trajectory.results)),
        "with a repair": _repaired,
        "asked again": lambda turn: turn.id in asked_again,
        "called bad": lambda turn: any(feedback.verdict == "bad" for feedback in turn.feedback),
    }


def _repaired(turn: Interaction) -> bool:
    """A call failed, and the model called again."""
    return any(map(_failed, turn.trajectory.results[:-1]))


def _failed(result: ToolResult) -> bool:
    return result.error is not None and result.error.kind is not ToolErrorKind.LOST


def _asked_again(turns: Iterable[Interaction]) -> set[str]:
    """The turns after which the same session soon asked the same once more."""
    last: dict[SessionKey, Interaction] = {}
    found = set()
    for turn in turns:
        earlier = last.get(session_of(turn))
        if earlier is not None and asks_again(earlier, turn):
            found.add(earlier.id)
        last[session_of(turn)] = turn
    return found
