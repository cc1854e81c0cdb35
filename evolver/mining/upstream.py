"""The mark of what a model that is none of ours wrote: whoever learns from a turn asks here first."""

from collections.abc import Sequence

from agent.turn.messages import Interaction, Trajectory, is_foreign


def written_upstream(session: Sequence[Interaction], place: int) -> bool:
    """Return whether a model that is none of ours wrote any of a turn: its answer, or one of its calls.

    A turn may be ended by another model than the one that began it, and the log may not know that they belong together
    (a gateway that was restarted in between). So the calls of earlier turns of the ``session`` that put the same
    request count, too.
    """
    turn = session[place].trajectory
    if is_foreign(turn.adapter):
        return True
    if not turn.calls:
        return False
    begun = (one.trajectory for one in session[:place] if is_foreign(one.trajectory.adapter))
    return any(_goes_on(turn, one) for one in begun)


def _goes_on(turn: Trajectory, begun: Trajectory) -> bool:
    calls = [(call.id, call.name, call.raw) for call in begun.calls]
    mine = [(call.id, call.name, call.raw) for call in turn.calls]
    return bool(calls) and turn.messages[0] == begun.messages[0] and mine[: len(calls)] == calls
