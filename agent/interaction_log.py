"""The interaction log: every turn and every word on it, in data/interactions.db.

Written by agent commands and the gateway, each append one transaction that is on disk when it returns. The evolver
opens the same file read-only.
"""

import json
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Literal

from agent.config import Config, RedactionConfig
from agent.database import Database, SqliteUtilsDatabase, open_database, open_readonly
from agent.messages import Feedback, Interaction, Message, Trajectory
from agent.migrations import migrations
from agent.redaction import Redactor
from toolkit.errors import UserError

FILE = "interactions.db"
COMPLETIONS_SOURCE = "completions"
"""The source of texts that a client let the model go on with: kept, but no conversations."""
_COLUMNS = "id, session, source, created_at, trajectory, tool_schemas, owner, tenant, reference, continues"


class InteractionLog:
    """An open log; may be shared by threads. Raises StorageError, and PrerequisiteError when SQLite is too old.

    What is stored went through ``redactor``; the default removes secrets.
    """

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], float] = time.time,
        database: Database | None = None,
        redactor: Redactor | None = None,
    ) -> None:
        self._now = now
        self._redactor = redactor or Redactor(RedactionConfig())
        self._db = database or open_database(path, migrations)

    @classmethod
    def of(cls, config: Config) -> "InteractionLog":
        """The log of the data folder, redacting as ``[agent.redaction]`` says."""
        return cls(config.data_folder / FILE, redactor=Redactor(config.agent.redaction))

    @classmethod
    def open_readonly(cls, path: Path) -> "InteractionLog":
        """For readers that must not write, not even by mistake. A log that does not exist yet reads as empty."""
        return cls(path, database=open_readonly(path, migrations))

    def __enter__(self) -> "InteractionLog":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def append(
        self,
        trajectory: Trajectory,
        *,
        session: str,
        source: str,
        tool_schemas: Sequence[dict[str, Any]] = (),
        owner: str = "",
        tenant: str = "",
        reference: str = "",
        continues: str = "",
    ) -> str:
        """Store one turn; returns its id. Ids sort by the order in which turns were stored, over all processes."""
        turn, tools = self._redactor.value([trajectory.model_dump(mode="json"), list(tool_schemas)])
        payload, schemas = (json.dumps(value, ensure_ascii=False) for value in (turn, tools))
        with self._db.transaction() as db:
            newest = db.execute("SELECT max(id) FROM interactions").fetchone()[0]
            created_at = self._now()
            identity = _next_id(created_at, newest)
            db.execute(
                f"INSERT INTO interactions ({_COLUMNS}, adapter, stop_reason) VALUES ({', '.join('?' * 12)})",
                (
                    *(identity, session, source, created_at, payload, schemas),
                    *(owner, tenant, reference, continues, trajectory.adapter, trajectory.stop_reason),
                ),
            )
        return identity

    def feedback(
        self, interaction_id: str, verdict: Literal["good", "bad"], note: str = "", *, owner: str | None = None
    ) -> str:
        """Store a person's word on one interaction, named by its id or by its reference; returns its id.

        Raises UserError when there is no such interaction, or (``owner`` given) it is not that owner's.
        """
        with self._db.transaction() as db:
            row = db.execute(
                "SELECT id FROM interactions WHERE (id = ?1 OR reference = ?1 AND reference != '') "
                "AND (?2 IS NULL OR owner = ?2) ORDER BY id DESC LIMIT 1",
                (interaction_id, owner),
            ).fetchone()
            if row is None:
                raise UserError(f"there is no interaction {interaction_id}; see their ids with: agent log")
            db.execute(
                "INSERT INTO feedback (interaction_id, verdict, note, created_at) VALUES (?, ?, ?, ?)",
                (row[0], verdict, self._redactor.text(note), self._now()),
            )
        return row[0]

    def forget(self, interaction_id: str) -> bool:
        """Delete an interaction, what was said of it, and what later turns of its session carry of it as history;
        whether there was one. The freed pages are overwritten."""
        self._db.raw.execute("PRAGMA secure_delete=ON")
        with self._db.transaction() as db:
            found = db.execute(
                "SELECT source, session, trajectory FROM interactions WHERE id = ?", (interaction_id,)
            ).fetchone()
            if found is None:
                return False
            source, session, gone = found[0], found[1], Trajectory.model_validate_json(found[2])
            # Of whichever owner: a person may have two keys.
            later = db.execute(
                "SELECT id, trajectory FROM interactions WHERE source = ? AND session = ? AND id > ?",
                (source, session, interaction_id),
            ).fetchall()
            for identity, text in later:
                turn = _without(Trajectory.model_validate_json(text), gone)
                db.execute("UPDATE interactions SET trajectory = ? WHERE id = ?", (turn.model_dump_json(), identity))
            db.execute("DELETE FROM feedback WHERE interaction_id = ?", (interaction_id,))
            db.execute("DELETE FROM interactions WHERE id = ?", (interaction_id,))
        self._db.raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return True

    def read(self, limit: int | None = None, since_id: str | None = None) -> list[Interaction]:
        """Interactions, oldest first: those after ``since_id``; ``limit`` keeps the first of them.

        Without ``since_id``, ``limit`` keeps the newest.
        """
        if since_id is None:
            return self._select("", (), limit)
        return self._select("WHERE id > ?", (since_id,), limit, newest=False)

    def tenants(self, ids: Collection[str]) -> dict[str, int]:
        """How many of these interactions are of each tenant ("": of none)."""
        query = "SELECT tenant, count(*) FROM interactions WHERE id IN (SELECT value FROM json_each(?)) GROUP BY tenant"
        with self._db.transaction("BEGIN") as db:
            return dict(db.execute(query, (json.dumps(sorted(ids)),)).fetchall())

    def called_bad(self, ids: Collection[str]) -> set[str]:
        """Those of these interactions of which the last word is that they were bad."""
        query = (
            "SELECT interaction_id, verdict FROM feedback "
            "WHERE interaction_id IN (SELECT value FROM json_each(?)) ORDER BY number"
        )
        with self._db.transaction("BEGIN") as db:
            last = dict(db.execute(query, (json.dumps(sorted(ids)),)).fetchall())
        return {identity for identity, verdict in last.items() if verdict == "bad"}

    def of_adapter(self, adapter: str, limit: int, *, since_id: str = "") -> list[Interaction]:
        """The newest ``limit`` interactions after ``since_id`` that ``adapter`` answered, oldest first."""
        return self._select("WHERE adapter = ? AND id > ?", (adapter, since_id), limit)

    def read_session(self, session: str, *, source: str, limit: int) -> list[Interaction]:
        """The newest ``limit`` interactions of a session, oldest first."""
        return self._select("WHERE source = ? AND session = ?", (source, session), limit)

    def _select(
        self, where: str, values: tuple[Any, ...], limit: int | None, *, newest: bool = True
    ) -> list[Interaction]:
        order = "DESC" if newest else "ASC"
        query = f"SELECT {_COLUMNS} FROM interactions {where} ORDER BY id {order} LIMIT ?"
        # One read transaction: feedback belongs to the same state of the log as the interactions.
        with self._db.transaction("BEGIN") as db:
            rows = db.execute(query, (*values, -1 if limit is None else limit)).fetchall()
            said = {row[0]: _feedback_on(db, row[0]) for row in rows}
        found = [
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
                feedback=said[row[0]],
            )
            for row in rows
        ]
        return found[::-1] if newest else found


def first_id(moment: float) -> str:
    """What the ids of interactions stored from ``moment`` on are greater than; seconds since the epoch."""
    return f"{max(0, int(moment * 1000)):012x}"


def _without(turn: Trajectory, gone: Trajectory) -> Trajectory:
    """``turn`` with no message of ``gone`` in its history."""
    said = {_key(message) for message in gone.messages}
    return turn.model_copy(update={"history": tuple(m for m in turn.history if _key(m) not in said)})


def _key(message: Message) -> tuple[str, str, str]:
    return message.role, message.content, str([(call.name, call.arguments) for call in message.tool_calls])


def _feedback_on(db: SqliteUtilsDatabase, identity: str) -> tuple[Feedback, ...]:
    rows = db.execute(
        "SELECT verdict, note FROM feedback WHERE interaction_id = ? ORDER BY number", (identity,)
    ).fetchall()
    return tuple(Feedback(interaction_id=identity, verdict=verdict, note=note) for verdict, note in rows)


def _next_id(created_at: float, newest: str | None) -> str:
    """Milliseconds since the epoch and a running number, in hex: later ids are greater, also if the clock goes back."""
    moment, number = int(created_at * 1000), 0
    if newest is not None:
        last_moment, last_number = (int(part, 16) for part in newest.split("-"))
        if moment <= last_moment:
            moment, number = last_moment, last_number + 1
    return f"{moment:012x}-{number:04x}"
