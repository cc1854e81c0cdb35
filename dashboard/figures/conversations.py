"""Conversations, from the log: a list by choice, and one session as a thread."""

from dataclasses import dataclass
from typing import Any

from agent.log import search_index
from agent.log.interaction_log import InteractionLog
from agent.log.queries import SessionKey, session_of
from agent.storage.statements import Statements
from agent.turn.messages import Interaction
from dashboard.figures.traffic import FAILED_CALL, LAST_WORD, WHOLE

TROUBLES = {
    "unanswered": "stop_reason != 'answered'",
    "failed call": FAILED_CALL,
    "called good": f"{LAST_WORD} = 'good'",
    "called bad": f"{LAST_WORD} = 'bad'",
    "corrected": "EXISTS (SELECT 1 FROM feedback WHERE interaction_id = turn.id AND expected != '')",
}
"""Conditions on ``turn`` that a person may select, by name."""

_ROW = f"""
    SELECT id, created_at, session, source, owner, tenant, adapter, stop_reason,
        json_extract(trajectory, '$.messages[0].content'),
        CAST(json_extract(trajectory, '$.latency_ms') AS DOUBLE PRECISION),
        (
            SELECT string_agg(json_extract(call.value, '$.name'), ', ')
            FROM json_each(turn.trajectory, '$.messages') AS message, json_each(message.value, '$.tool_calls') AS call
        ),
        {LAST_WORD}
    FROM interactions AS turn
"""


@dataclass(frozen=True)
class Choice:
    """Turns that a person wants to see; "" each for all. ``before``: an id; only older ones."""

    adapter: str = ""
    source: str = ""
    owner: str = ""
    trouble: str = ""
    text: str = ""
    before: str = ""

    def conditions(self, db: Statements) -> tuple[str, dict[str, Any]]:
        """Return the condition on ``turn`` and its values."""
        parts, values = [WHOLE], {}
        for name in ("adapter", "source", "owner"):
            if value := getattr(self, name):
                parts.append(f"{name} = :{name}")
                values[name] = value
        if self.trouble in TROUBLES:
            parts.append(TROUBLES[self.trouble])
        if self.before:
            parts.append("id < :before")
            values["before"] = self.before
        holds, words = search_index.holding(db, self.text)
        if words:
            parts.append(holds)
            values["words"] = words
        return " AND ".join(parts), values


@dataclass(frozen=True)
class Row:
    """A turn in the list. ``calls`` are the names of the tools that it called, ``verdict`` the last word on it."""

    id: str
    created_at: float
    session: str
    source: str
    owner: str
    tenant: str
    adapter: str
    stop_reason: str
    request: str
    latency_ms: float
    calls: str | None
    verdict: str | None


def listed(db: Statements, choice: Choice, limit: int) -> list[Row]:
    """Return the newest turns of ``choice``."""
    where, values = choice.conditions(db)
    query = f"{_ROW} WHERE {where} ORDER BY id DESC LIMIT :limit"
    return [Row(*row) for row in db.execute(query, {**values, "limit": limit}).fetchall()]


def choices(db: Statements) -> dict[str, list[str]]:
    """Return the adapters, sources and owners that the log knows."""
    columns = ("adapter", "source", "owner")
    return {
        column: [value for (value,) in db.execute(f"SELECT DISTINCT {column} FROM interactions").fetchall() if value]
        for column in columns
    }


def thread(log: InteractionLog, identity: str) -> list[Interaction]:
    """Return the whole turns of the session of an interaction, oldest first; [] where there is no such interaction."""
    found = log.find(identity)
    if found is None:
        return []
    if not found.session:
        return [found]
    place: SessionKey = session_of(found)
    return list(log.whole_turns(session=place))
