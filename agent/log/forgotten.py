"""Takes an interaction that is forgotten out of what the log has besides it."""

from agent.storage.statements import Statements
from agent.turn.messages import Message, Trajectory


def erase(db: Statements, interaction_id: str) -> bool:
    """Delete an interaction, what was said of it, and what later turns carry of it; return whether there was one."""
    query = "SELECT source, session, trajectory FROM interactions WHERE id = ?"
    found = db.execute(query, (interaction_id,)).fetchone()
    if found is None:
        return False
    source, session, gone = found[0], found[1], Trajectory.model_validate_json(found[2])
    take_from_later_turns(db, source, session, interaction_id, gone)
    db.execute("DELETE FROM feedback WHERE interaction_id = ?", (interaction_id,))
    db.execute("DELETE FROM interactions WHERE id = ?", (interaction_id,))
    return True


def take_from_later_turns(db: Statements, source: str, session: str, interaction_id: str, gone: Trajectory) -> None:
    """Take ``gone`` out of the histories of its session's later turns.

    Of all owners: a person may have two keys.
    """
    query = "SELECT id, trajectory FROM interactions WHERE source = ? AND session = ? AND id > ? ORDER BY id LIMIT 1"
    last = interaction_id
    while (row := db.execute(query, (source, session, last)).fetchone()) is not None:
        last = row[0]
        turn = _without(Trajectory.model_validate_json(row[1]), gone)
        db.execute("UPDATE interactions SET trajectory = ? WHERE id = ?", (turn.model_dump_json(), last))


def _without(turn: Trajectory, gone: Trajectory) -> Trajectory:
    """``turn`` with no message of ``gone`` in its history."""
    said = {_key(message) for message in gone.messages}
    return turn.model_copy(update={"history": tuple(m for m in turn.history if _key(m) not in said)})


def _key(message: Message) -> tuple[str, str, str]:
    return message.role, message.content, str([(call.name, call.arguments) for call in message.tool_calls])
