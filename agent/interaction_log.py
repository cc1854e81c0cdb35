"""The interaction log: every turn and every word on it, in data/interactions.db.

Written by agent commands and the gateway, each append one transaction that is on disk when it returns. The evolver
opens the same file read-only.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from sqlite_utils import Database as SqliteUtilsDatabase

from agent.database import Database, open_database, open_readonly
from agent.messages import Feedback, Interaction, Trajectory
from agent.migrations import migrations
from toolkit.errors import UserError


class InteractionLog:
    """An open log; may be shared by threads. Raises StorageError, and PrerequisiteError when SQLite is too old."""

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time, database: Database | None = None) -> None:
        self._now = now
        self._db = database or open_database(path, migrations)

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
        self, trajectory: Trajectory, *, session: str, source: str, tool_schemas: Sequence[dict[str, Any]] = ()
    ) -> str:
        """Store one turn; returns its id. Ids sort by the order in which turns were stored, over all processes."""
        payload = trajectory.model_dump_json()
        schemas = json.dumps(list(tool_schemas), ensure_ascii=False)
        with self._db.transaction() as db:
            newest = db.execute("SELECT max(id) FROM interactions").fetchone()[0]
            created_at = self._now()
            identity = _next_id(created_at, newest)
            db.execute(
                "INSERT INTO interactions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (identity, session, source, created_at, trajectory.adapter, trajectory.stop_reason, payload, schemas),
            )
        return identity

    def feedback(self, interaction_id: str, verdict: Literal["good", "bad"], note: str = "") -> None:
        """Store a person's word on one interaction. Raises UserError when there is no such interaction."""
        with self._db.transaction() as db:
            if db.execute("SELECT 1 FROM interactions WHERE id = ?", (interaction_id,)).fetchone() is None:
                raise UserError(f"there is no interaction {interaction_id}; see their ids with: agent log")
            db.execute(
                "INSERT INTO feedback (interaction_id, verdict, note, created_at) VALUES (?, ?, ?, ?)",
                (interaction_id, verdict, note, self._now()),
            )

    def read(self, limit: int | None = None, since_id: str | None = None) -> list[Interaction]:
        """Interactions, oldest first: those after ``since_id``; ``limit`` keeps the first of them.

        Without ``since_id``, ``limit`` keeps the newest.
        """
        if since_id is None:
            return self._select("", (), limit)
        return self._select("WHERE id > ?", (since_id,), limit, newest=False)

    def read_session(self, session: str, *, source: str, limit: int) -> list[Interaction]:
        """The newest ``limit`` interactions of a session, oldest first."""
        return self._select("WHERE source = ? AND session = ?", (source, session), limit)

    def _select(
        self, where: str, values: tuple[Any, ...], limit: int | None, *, newest: bool = True
    ) -> list[Interaction]:
        order = "DESC" if newest else "ASC"
        columns = "id, session, source, created_at, trajectory, tool_schemas"
        query = f"SELECT {columns} FROM interactions {where} ORDER BY id {order} LIMIT ?"
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
                feedback=said[row[0]],
            )
            for row in rows
        ]
        return found[::-1] if newest else found


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
