"""Requests that people sent, from the log: how many, how many went wrong, how long they took."""

from dataclasses import dataclass

from agent.log.entries import first_id
from agent.storage.statements import Statements

WHOLE = "NOT EXISTS (SELECT 1 FROM interactions AS later WHERE later.continues = turn.id AND later.continues != '')"
"""A condition: ``turn`` has all messages of its turn. A client with tools of its own asks several times in one."""
LAST_WORD = "(SELECT verdict FROM feedback WHERE interaction_id = turn.id ORDER BY number DESC LIMIT 1)"
FAILED_CALL = """
    EXISTS (
        SELECT 1 FROM json_each(turn.trajectory, '$.messages')
        WHERE json_extract(value, '$.tool_result.error.kind') != 'lost'
    )
"""
"""A condition: a call of ``turn`` failed, not for the loss of its worker."""

_SINCE = "FROM interactions WHERE id >= ?"
_LATENCY = "CAST(json_extract(trajectory, '$.latency_ms') AS DOUBLE PRECISION)"


@dataclass(frozen=True)
class Traffic:
    """Interactions since a moment; ``failed`` had no answer. Latencies in ms, None where there is no interaction."""

    requests: int
    failed: int
    median_ms: float | None
    slow_ms: float | None
    """The 95th percentile."""

    @property
    def failed_share(self) -> float | None:
        return self.failed / self.requests if self.requests else None


def traffic(db: Statements, since: float) -> Traffic:
    """Count the interactions stored since a moment (seconds since the epoch)."""
    start = first_id(since)
    requests, failed = db.execute(
        f"SELECT count(*), count(*) FILTER (WHERE stop_reason != 'answered') {_SINCE}", (start,)
    ).fetchone()
    return Traffic(requests, failed, _quantile(db, start, requests, 0.5), _quantile(db, start, requests, 0.95))


def _quantile(db: Statements, start: str, count: int, share: float) -> float | None:
    if not count:
        return None
    query = f"SELECT {_LATENCY} AS ms {_SINCE} ORDER BY ms LIMIT 1 OFFSET ?"
    return db.execute(query, (start, min(count - 1, int(share * count)))).fetchone()[0]
