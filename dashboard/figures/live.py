"""The last day, hour by hour, from the log: what went wrong with which adapter, and how long answers took."""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from agent.log.entries import first_id
from agent.models.packaged import PACKAGED
from agent.storage.statements import Statements
from agent.text.matching import same_question
from dashboard.figures.traffic import FAILED_CALL, LAST_WORD, WHOLE
from evolver.config import Config
from evolver.store.sessions import ASKS_AGAIN_SECONDS

_HOUR = 3600
_HOURS = f"CAST(floor(created_at / {_HOUR}) AS INTEGER)"
_LATENCY = "CAST(json_extract(trajectory, '$.latency_ms') AS DOUBLE PRECISION)"
_REPAIRED = """
    EXISTS (
        SELECT 1 FROM json_each(turn.trajectory, '$.messages') AS failed
        WHERE json_extract(failed.value, '$.tool_result.error.kind') != 'lost' AND failed.key < (
            SELECT max(key) FROM json_each(turn.trajectory, '$.messages')
            WHERE json_extract(value, '$.role') = 'tool'
        )
    )
"""
_TROUBLES = f"""
    SELECT {_HOURS} AS hour, adapter, count(*), count(*) FILTER (WHERE stop_reason != 'answered'),
        count(*) FILTER (WHERE {FAILED_CALL}), count(*) FILTER (WHERE {_REPAIRED}),
        count(*) FILTER (WHERE {LAST_WORD} = 'bad'),
        count(*) FILTER (WHERE stop_reason != 'answered' OR {FAILED_CALL} OR coalesce({LAST_WORD}, '') = 'bad')
    FROM interactions AS turn WHERE id >= ? AND {WHOLE} GROUP BY hour, adapter ORDER BY hour, adapter
"""
_REQUESTS = f"""
    SELECT source, tenant, owner, session, created_at, adapter, json_extract(trajectory, '$.messages[0].content')
    FROM interactions AS turn WHERE id >= ? AND {WHOLE} ORDER BY source, tenant, owner, session, id
"""
_LATENCIES = f"""
    WITH ranked AS (
        SELECT {_HOURS} AS hour, {_LATENCY} AS ms,
            row_number() OVER (PARTITION BY {_HOURS} ORDER BY {_LATENCY}) AS place,
            count(*) OVER (PARTITION BY {_HOURS}) AS total
        FROM interactions WHERE id >= ?
    )
    SELECT hour, max(CASE WHEN place <= 1 + total / 2 THEN ms END), max(CASE WHEN place <= 1 + total * 0.95 THEN ms END)
    FROM ranked GROUP BY hour ORDER BY hour
"""


@dataclass(frozen=True)
class Hour:
    """Turns of one adapter in one hour, which began at ``at`` (seconds since the epoch), and those with a trouble."""

    at: int
    adapter: str
    turns: int
    unanswered: int
    failed_call: int
    repaired: int
    called_bad: int
    troubled: int
    """Not answered, with a failed call, or called bad; a turn counts once."""
    asked_again: int

    @property
    def troubled_share(self) -> float:
        return self.troubled / self.turns


@dataclass(frozen=True)
class Latency:
    """Median and 95th percentile of the latencies of an hour, ms."""

    at: int
    median_ms: float
    slow_ms: float


@dataclass(frozen=True)
class Server:
    """A vLLM server, as the gateway knows it. ``adapters``: None before it was asked for them; ``in_flight``: requests
    that it answers or lets wait."""

    address: str
    model: str
    ready: bool
    trouble: str
    adapters: tuple[str, ...] | None
    in_flight: int


def servers(told: dict[str, Any], model: str) -> list[Server]:
    """Return the servers of the gateway's answer, which all run ``model``; [] where it refused to tell them."""
    return [
        Server(
            one["address"],
            model,
            one["ready"],
            one["trouble"],
            None if one["adapters"] is None else tuple(one["adapters"]),
            one["in_flight"],
        )
        for one in told.get("servers", [])
    ]


def model_of(config: Config) -> str:
    """Return the name of the model that the servers run; "" where others run them."""
    serving = config.agent.serving
    if serving.upstreams:
        return ""
    packaged = PACKAGED.get(serving.model)
    return packaged.about.partition(",")[0] if packaged is not None else Path(serving.model).name


def hours(db: Statements, since: float) -> list[Hour]:
    """Return the hours with a turn, by adapter, the oldest first."""
    rows = db.execute(_TROUBLES, (first_id(since),)).fetchall()
    again = _asked_again(db, since)
    return [Hour(hour * _HOUR, adapter, *rest, asked_again=again[hour, adapter]) for hour, adapter, *rest in rows]


def _asked_again(db: Statements, since: float) -> Counter[tuple[int, str]]:
    """Count the turns after which the same session soon asked the same once more, by hour and adapter."""
    rows = [(row[:4], *row[4:]) for row in db.execute(_REQUESTS, (first_id(since),)).fetchall()]
    found: Counter[tuple[int, str]] = Counter()
    for (session, at, adapter, request), (next_session, next_at, _, next_request) in pairwise(rows):
        soon = session == next_session and next_at - at < ASKS_AGAIN_SECONDS
        if soon and request and next_request and same_question(request, next_request):
            found[int(at // _HOUR), adapter] += 1
    return found


def latencies(db: Statements, since: float) -> list[Latency]:
    """Return the latencies of the hours with an exchange, the oldest first."""
    rows = db.execute(_LATENCIES, (first_id(since),)).fetchall()
    return [Latency(hour * _HOUR, *rest) for hour, *rest in rows]
