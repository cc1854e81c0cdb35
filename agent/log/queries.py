"""Queries of the interaction log, a page at a time: memory does not grow with the log."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from agent.log import search_index
from agent.storage.statements import OpenDatabase, Statements
from agent.turn.messages import Feedback, Interaction, Trajectory, is_foreign

COLUMNS = "id, session, source, created_at, trajectory, tool_schemas, owner, tenant, reference, continues"
_WITHOUT_SCHEMAS = COLUMNS.replace("tool_schemas", "'[]'")
_PAGE = 200
"""Rows per read transaction."""

_WHOLE = """
    AND NOT EXISTS (
        SELECT 1 FROM interactions AS later
        WHERE later.continues = turn.id AND later.continues != '' AND later.id > :after AND later.id <= :until
        AND later.tenant = turn.tenant AND later.owner = turn.owner
    )
"""
_IN_SESSION = f"""
    SELECT {_WITHOUT_SCHEMAS} FROM interactions AS turn INDEXED BY interactions_by_session
    WHERE source = :source AND tenant = :tenant AND owner = :owner AND session = :session
    AND id > :id AND id <= :until {_WHOLE}
    ORDER BY id LIMIT :page
"""
_BY_SESSION = f"""
    SELECT {_WITHOUT_SCHEMAS} FROM interactions AS turn INDEXED BY interactions_by_session
    WHERE (source, tenant, owner, session, id) > (:source, :tenant, :owner, :session, :id)
    AND id > :after AND id <= :until {_WHOLE}
    ORDER BY source, tenant, owner, session, id LIMIT :page
"""
_OF_TENANT = _BY_SESSION.replace("ORDER BY", "AND tenant = :of ORDER BY")
_EARLIER_PARTS = """
    WITH RECURSIVE part(turn, id, continues, created_at, latency_ms, adapter, tenant, owner) AS (
        SELECT id, id, continues, created_at, CAST(0.0 AS DOUBLE PRECISION), adapter, tenant, owner FROM interactions
        WHERE id IN (SELECT value FROM json_each(:ids))
        UNION ALL
        SELECT part.turn, earlier.id, earlier.continues, earlier.created_at,
        CAST(json_extract(earlier.trajectory, '$.latency_ms') AS DOUBLE PRECISION), earlier.adapter,
        earlier.tenant, earlier.owner
        FROM part JOIN interactions AS earlier
        ON earlier.id = part.continues AND earlier.id < part.id AND earlier.id > :after
        AND earlier.tenant = part.tenant AND earlier.owner = part.owner
    )
    SELECT turn, id, continues, created_at, latency_ms, adapter FROM part WHERE id != turn ORDER BY id
"""


_TOOL_USE = """
    SELECT id, source, tenant, owner, created_at, continues, tool_schemas, json_extract(trajectory, '$.messages')
    FROM interactions WHERE id > ? AND id <= ? AND tool_schemas != '[]' ORDER BY id LIMIT ?
"""


class ToolUse(NamedTuple):
    """The tools of one interaction. ``tool_schemas`` and ``messages``, those of its turn so far, are JSON texts."""

    id: str
    source: str
    tenant: str
    owner: str
    created_at: float
    continues: str
    tool_schemas: str
    messages: str


class SessionKey(NamedTuple):
    """The identity of a conversation: two owners may give theirs the same name."""

    source: str
    tenant: str
    owner: str
    session: str


def session_of(turn: Interaction) -> SessionKey:
    """Return the conversation that ``turn`` belongs to."""
    return SessionKey(turn.source, turn.tenant, turn.owner, turn.session)


def interactions_of(db: Statements, rows: Sequence[Sequence[Any]]) -> list[Interaction]:
    """Return rows of ``COLUMNS`` as interactions, with their feedback."""
    said = _feedback(db, [row[0] for row in rows])
    return [
        Interaction(
            id=row[0],
            session=row[1],
            source=row[2],
            created_at=row[3],
            trajectory=Trajectory.model_validate_json(row[4]),
            tool_schemas=tuple(json.loads(row[5])),
            owner=row[6],
            tenant=row[7],
            reference=row[8],
            continues=row[9],
            feedback=tuple(said.get(row[0], ())),
        )
        for row in rows
    ]


def ids_of(database: OpenDatabase, wanted: Mapping[str, str | None]) -> dict[str, SessionKey]:
    """Return the ids of the interactions with the ``wanted`` session, owner and tenant, None for any, with the
    conversation of each."""
    where = " AND ".join(f"{column} = :{column}" for column, value in wanted.items() if value is not None)
    query = f"SELECT id, source, tenant, owner, session FROM interactions WHERE {where or '1 = 1'} ORDER BY id"
    with database.transaction("BEGIN") as db:
        rows = db.execute(query, {name: value for name, value in wanted.items() if value is not None}).fetchall()
    return {row[0]: SessionKey(*row[1:]) for row in rows}


def tool_use(database: OpenDatabase, *, after: str, until: str, limit: int) -> list[ToolUse]:
    """Return the first ``limit`` interactions with tools after ``after`` and up to ``until``, oldest first."""
    with database.transaction("BEGIN") as db:
        return [ToolUse(*row) for row in db.execute(_TOOL_USE, (after, until, limit)).fetchall()]


def of_adapter(
    database: OpenDatabase, adapter: str, *, after: str = "", tenant: str | None = None
) -> Iterator[Interaction]:
    """Yield the interactions that ``adapter`` answered after the one with the id ``after``, newest first; with
    ``tenant``, those of this tenant ("": of none).

    Without ``tool_schemas``.
    """
    query = (
        f"SELECT {_WITHOUT_SCHEMAS} FROM interactions WHERE adapter = :adapter AND id > :after AND id < :id "
        f"{'AND tenant = :of ' if tenant is not None else ''}ORDER BY id DESC LIMIT :page"
    )
    place = {"adapter": adapter, "after": after, "id": "~", "page": _PAGE}
    if tenant is not None:
        place["of"] = tenant
    while True:
        with database.transaction("BEGIN") as db:
            page = interactions_of(db, db.execute(query, place).fetchall())
        yield from page
        if len(page) < _PAGE:
            return
        place["id"] = page[-1].id


def search(database: OpenDatabase, text: str, limit: int) -> list[Interaction]:
    """Return the newest ``limit`` interactions that hold all words of ``text``, oldest first."""
    with database.transaction("BEGIN") as db:
        held, words = search_index.holding(db, text)
        query = f"SELECT {COLUMNS} FROM interactions WHERE {held} ORDER BY id DESC LIMIT :limit"
        rows = db.execute(query, {"words": words, "limit": limit}).fetchall()
        return interactions_of(db, rows)[::-1]


def called(database: OpenDatabase, verdict: str, ids: Collection[str]) -> set[str]:
    """Return those of these interactions whose last feedback is ``verdict``."""
    query = (
        "SELECT interaction_id, verdict FROM feedback "
        "WHERE interaction_id IN (SELECT value FROM json_each(?)) ORDER BY number"
    )
    with database.transaction("BEGIN") as db:
        last = dict(db.execute(query, (json.dumps(sorted(ids)),)).fetchall())
    return {identity for identity, word in last.items() if word == verdict}


def requests(database: OpenDatabase, *, source: str, owner: str, limit: int) -> list[str]:
    """Return the first messages of the newest ``limit`` interactions of ``owner`` at ``source``, oldest first."""
    query = (
        "SELECT json_extract(trajectory, '$.messages[0].content') FROM interactions "
        "WHERE source = ? AND owner = ? ORDER BY id DESC LIMIT ?"
    )
    with database.transaction("BEGIN") as db:
        return [text for (text,) in db.execute(query, (source, owner, limit)).fetchall()][::-1]


def whole_turns(
    database: OpenDatabase,
    *,
    after: str = "",
    until: str = "~",
    session: SessionKey | None = None,
    tenant: str | None = None,
) -> Iterator[Interaction]:
    """Yield one interaction per turn, session by session, oldest first in each, without ``tool_schemas``.

    Read are the interactions with ids above ``after`` and up to ``until``; with ``session``, those of this one alone,
    with ``tenant``, those of this tenant ("": of none).
    A client with tools of its own asks several times in one turn. The last interaction of such a turn stands for it,
    with the feedback on all of them, the time when the first was stored, and the latency of all. If a model that is
    none of ours answered any of them, the turn is that model's.
    """
    query = _IN_SESSION if session is not None else _BY_SESSION if tenant is None else _OF_TENANT
    if session is not None and tenant not in (None, session.tenant):
        return
    start = session or SessionKey("", "", "", "")
    place = {"after": after, "until": until, "page": _PAGE, "id": after if session else "", **start._asdict()}
    if query is _OF_TENANT:
        place["of"] = tenant or ""
    while True:
        with database.transaction("BEGIN") as db:
            page = interactions_of(db, db.execute(query, place).fetchall())
            turns = _whole(db, page, after)
        yield from turns
        if len(page) < _PAGE:
            return
        place |= {"id": page[-1].id, **session_of(page[-1])._asdict()}


class _Part(NamedTuple):
    """An interaction before the last one of a ``turn``, which is the id of that one."""

    turn: str
    id: str
    continues: str
    created_at: float
    latency_ms: float | None
    adapter: str


def _whole(db: Statements, page: Sequence[Interaction], after: str) -> list[Interaction]:
    """Return the turns of ``page`` with what belongs to each of the interactions that it continues."""
    ids = json.dumps([turn.id for turn in page if turn.continues])
    parts = [_Part(*row) for row in db.execute(_EARLIER_PARTS, {"ids": ids, "after": after}).fetchall()]
    said = _feedback(db, [part.id for part in parts])
    by_turn: dict[str, list[_Part]] = {}
    for part in parts:
        by_turn.setdefault(part.turn, []).append(part)
    return [_joined(turn, by_turn[turn.id], said) if turn.id in by_turn else turn for turn in page]


def _joined(turn: Interaction, parts: Sequence[_Part], said: Mapping[str, Sequence[Feedback]]) -> Interaction:
    latency_ms = turn.trajectory.latency_ms + sum(part.latency_ms or 0.0 for part in parts)
    # A turn is another model's if any part of it is.
    adapter = next((part.adapter for part in parts if is_foreign(part.adapter)), turn.trajectory.adapter)
    return turn.model_copy(
        update={
            "continues": parts[0].continues,
            "created_at": parts[0].created_at,
            "feedback": (*(word for part in parts for word in said.get(part.id, ())), *turn.feedback),
            "trajectory": turn.trajectory.model_copy(update={"latency_ms": latency_ms, "adapter": adapter}),
        }
    )


def _feedback(db: Statements, ids: Sequence[str]) -> dict[str, list[Feedback]]:
    query = (
        "SELECT interaction_id, verdict, note, expected FROM feedback "
        "WHERE interaction_id IN (SELECT value FROM json_each(?)) ORDER BY number"
    )
    found: dict[str, list[Feedback]] = {}
    for identity, verdict, note, expected in db.execute(query, (json.dumps(list(ids)),)).fetchall():
        word = Feedback(interaction_id=identity, verdict=verdict, note=note, expected=expected)
        found.setdefault(identity, []).append(word)
    return found
