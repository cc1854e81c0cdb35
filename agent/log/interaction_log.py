"""The interaction log: every turn and every word on it, in data/interactions.db or on a Postgres server.

Written by agent commands and the gateway, each append one transaction that is on disk when it returns. The evolver
opens the same database read-only.
"""

import json
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, Self, Unpack

from agent.config import DataConfig, RedactionConfig
from agent.errors import ConnectionLost
from agent.log import queries, search_index
from agent.log.corrections import OwnTools, OwnToolsSource, check_calls, unknown_tools
from agent.log.entries import COMPLETIONS_SOURCE, OWN_SOURCES, Entry, Origin, Stored, next_id, plain_reference
from agent.log.forgotten import erase
from agent.log.migrations import migrations
from agent.log.postgres_schema import STEPS
from agent.log.queries import COLUMNS, SessionKey, ToolUse
from agent.log.redaction import Redactor
from agent.storage.database import open_database, open_readonly
from agent.storage.statements import OpenDatabase, Statements
from agent.turn.messages import Interaction, Trajectory, is_foreign
from toolkit.errors import UserError

FILE = "interactions.db"
_ALL = 2**62
"""More interactions than there are."""


class InteractionLog:
    """An open log; may be shared by threads. Raises StorageError, and PrerequisiteError when SQLite is too old.

    What is stored went through ``redactor``; the default removes secrets. ``on_stored`` hears of each turn that is
    on disk, and raises nothing. ``own_tools`` gives this machine's tools, to check corrections with.
    """

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], float] = time.time,
        database: OpenDatabase | None = None,
        redactor: Redactor | None = None,
        on_stored: Callable[[Stored], None] | None = None,
        own_tools: Callable[[], OwnTools] = unknown_tools,
    ) -> None:
        self._now = now
        self._own_tools = own_tools
        self._on_stored = on_stored
        self._redactor = redactor or Redactor(RedactionConfig())
        self._db = database or open_database(path, migrations, STEPS)

    @classmethod
    def of(cls, config: DataConfig, *, on_stored: Callable[[Stored], None] | None = None) -> Self:
        """Open the log of the data folder, redacting as ``[agent.redaction]`` says."""
        own = OwnToolsSource(config.toolkit)
        redactor = Redactor(config.agent.redaction)
        return cls(config.data_folder / FILE, redactor=redactor, on_stored=on_stored, own_tools=own)

    @classmethod
    def open_readonly(cls, path: Path) -> Self:
        """Open the log for a reader that must not write. A log that does not exist yet reads as empty."""
        return cls(path, database=open_readonly(path, migrations, STEPS))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def append(self, trajectory: Trajectory, *, continues: str = "", **origin: Unpack[Origin]) -> str:
        """Store one turn; returns its id. Ids sort by the order in which turns were stored, over all processes.

        ``continues``: the id of the interaction that it continues, "" for none.
        """
        entry = self.entry(trajectory, **origin)
        try:
            return self._append(entry, continues)
        except ConnectionLost:  # its server comes back
            return self._append(entry, continues)

    def _append(self, entry: Entry, continues: str) -> str:
        with self.batch() as add:
            return add(entry, continues)

    def entry(self, trajectory: Trajectory, **origin: Unpack[Origin]) -> Entry:
        """Return the turn redacted and serialised, for ``batch``. Touches no database."""
        turn, tools = self._redactor.value([trajectory.model_dump(mode="json"), list(origin.get("tool_schemas", ()))])
        payload, schemas = (json.dumps(value, ensure_ascii=False) for value in (turn, tools))
        return Entry(
            session=origin["session"],
            source=origin["source"],
            trajectory=payload,
            tool_schemas=schemas,
            owner=origin.get("owner", ""),
            tenant=origin.get("tenant", ""),
            reference=origin.get("reference", ""),
            adapter=trajectory.adapter,
            stop_reason=trajectory.stop_reason,
            traceparent=origin.get("traceparent", ""),
        )

    @contextmanager
    def batch(self) -> Iterator[Callable[[Entry, str], str]]:
        """Store several turns in one transaction: all are on disk when the block ends, none when it raises.

        Yields a function that takes an entry and the id of the interaction that it continues ("" for none), and
        returns its id.
        """
        stored: list[Stored] = []
        with self._db.transaction() as db:
            yield self._adder(db, stored)
        if self._on_stored is not None:
            for turn in stored:
                self._on_stored(turn)

    def _adder(self, db: Statements, stored: list[Stored] | None = None) -> Callable[[Entry, str], str]:
        """Return the function that ``batch`` yields; what it takes is put into ``stored``."""
        newest: str | None = db.execute("SELECT max(id) FROM interactions").fetchone()[0]

        def add(entry: Entry, continues: str = "") -> str:
            nonlocal newest
            created_at = self._now()
            newest = next_id(created_at, newest)
            row = {"id": newest, "created_at": created_at, "continues": continues, **asdict(entry)}
            del row["traceparent"]
            places = ", ".join(f":{column}" for column in row)
            db.execute(f"INSERT INTO interactions ({', '.join(row)}) VALUES ({places})", row)
            search_index.keep_words(db, newest, entry.trajectory)
            if stored is not None:
                stored.append(Stored(newest, created_at, entry))
            return newest

        return add

    def feedback(
        self,
        interaction_id: str,
        verdict: Literal["good", "bad"],
        note: str = "",
        *,
        expected: str = "",
        owner: str | None = None,
    ) -> str:
        """Store a person's word on one interaction, named by its id or by its reference; returns its id.

        ``expected``: what would have been right. It goes with "bad".
        Raises UserError when there is no such interaction, or (``owner`` given) it is not that owner's; NoSuchCall when
        a call in ``expected`` cannot be made (``corrections.check_calls``).
        """
        word = (verdict, self._redactor.text(note), self._redactor.text(expected))
        try:
            return self._feedback(interaction_id, word, owner)
        except ConnectionLost:  # its server comes back
            return self._feedback(interaction_id, word, owner)

    def _check_calls(self, interaction_id: str, expected: str, owner: str | None) -> None:
        where = "WHERE (id = ? OR reference = ? AND reference != '') AND (CAST(? AS TEXT) IS NULL OR owner = ?)"
        reference = plain_reference(interaction_id)
        for turn in self._select(where, (reference, reference, owner, owner), 1):
            if turn.source != COMPLETIONS_SOURCE:
                check_calls(expected, turn, self._own_tools, clients=turn.source not in OWN_SOURCES)

    def _feedback(self, interaction_id: str, word: tuple[str, str, str], owner: str | None) -> str:
        if word[2].startswith("["):
            self._check_calls(interaction_id, word[2], owner)
        with self._db.transaction() as db:
            row = db.execute(
                "SELECT id FROM interactions WHERE (id = ?1 OR reference = ?1 AND reference != '') "
                "AND (CAST(?2 AS TEXT) IS NULL OR owner = ?2) ORDER BY id DESC LIMIT 1",
                (plain_reference(interaction_id), owner),
            ).fetchone()
            if row is None:
                raise UserError(f"there is no interaction {interaction_id}; see their ids with: agent log")
            db.execute(
                "INSERT INTO feedback (interaction_id, verdict, note, expected, created_at) VALUES (?, ?, ?, ?, ?)",
                (row[0], *word, self._now()),
            )
        return row[0]

    def forget(self, interaction_id: str) -> bool:
        """Delete an interaction, what was said of it, and what later turns of its session carry of it as history;
        whether there was one. The database keeps no trace of it; an index of Postgres keeps single words."""
        return bool(self.forget_all([interaction_id]))

    def forget_all(self, ids: Collection[str]) -> int:
        """Delete interactions as ``forget`` does, in one transaction; return how many there were."""
        with self._db.erasing("interactions", "feedback", "said") as db:
            # The newest first: no turn is rewritten that goes too.
            return sum(erase(db, one) for one in sorted(ids, reverse=True))

    def ids_of(
        self, *, session: str | None = None, owner: str | None = None, tenant: str | None = None
    ) -> dict[str, SessionKey]:
        """Return the ids of the interactions of this session, owner and tenant, with the conversation of each; None
        stands for any."""
        return queries.ids_of(self._db, {"session": session, "owner": owner, "tenant": tenant})

    def read(self, limit: int | None = None, since_id: str | None = None) -> list[Interaction]:
        """Return interactions, oldest first: those after ``since_id``; ``limit`` keeps the first of them.

        Without ``since_id``, ``limit`` keeps the newest.
        """
        if since_id is None:
            return self._select("", (), limit)
        return self._select("WHERE id > ?", (since_id,), limit, newest=False)

    def search(self, text: str, *, limit: int) -> list[Interaction]:
        """Return the newest ``limit`` interactions that hold all words of ``text``; see ``search_index.holding``."""
        return queries.search(self._db, text, min(limit, _ALL))

    def tenants(self, ids: Collection[str]) -> dict[str, int]:
        """Count these interactions by tenant ("": of none)."""
        query = "SELECT tenant, count(*) FROM interactions WHERE id IN (SELECT value FROM json_each(?)) GROUP BY tenant"
        with self._db.transaction("BEGIN") as db:
            return dict(db.execute(query, (json.dumps(sorted(ids)),)).fetchall())

    def all_tenants(self) -> set[str]:
        """Return the tenants that have an interaction here; "" where one is of none."""
        with self._db.transaction("BEGIN") as db:
            return {row[0] for row in db.execute("SELECT DISTINCT tenant FROM interactions").fetchall()}

    def owners(self, ids: Collection[str]) -> dict[str, tuple[str, str]]:
        """Return owner and tenant of these interactions, by id; of those that the log has."""
        query = "SELECT id, owner, tenant FROM interactions WHERE id IN (SELECT value FROM json_each(?))"
        with self._db.transaction("BEGIN") as db:
            found = db.execute(query, (json.dumps(sorted(ids)),)).fetchall()
        return {identity: (owner, tenant) for identity, owner, tenant in found}

    def foreign(self, ids: Collection[str]) -> set[str]:
        """Return those of these interactions that a model that is none of ours answered."""
        query = "SELECT id, adapter FROM interactions WHERE id IN (SELECT value FROM json_each(?))"
        with self._db.transaction("BEGIN") as db:
            found = db.execute(query, (json.dumps(sorted(ids)),)).fetchall()
        return {identity for identity, adapter in found if is_foreign(adapter)}

    def called_bad(self, ids: Collection[str]) -> set[str]:
        """Return those of these interactions whose last feedback is bad."""
        return queries.called(self._db, "bad", ids)

    def called_good(self, ids: Collection[str]) -> set[str]:
        """Return those of these interactions whose last feedback is good."""
        return queries.called(self._db, "good", ids)

    def of_adapter(self, adapter: str, *, after: str = "", tenant: str | None = None) -> Iterator[Interaction]:
        """Yield the interactions of ``adapter`` after ``after``, newest first; see ``queries.of_adapter``."""
        return queries.of_adapter(self._db, adapter, after=after, tenant=tenant)

    def read_session(self, session: str, *, source: str, owner: str = "", limit: int) -> list[Interaction]:
        """Return the newest ``limit`` interactions of a session of ``owner``, oldest first."""
        return self._select("WHERE source = ? AND session = ? AND owner = ?", (source, session, owner), limit)

    def requests(self, *, source: str, owner: str, limit: int) -> list[str]:
        """Return the newest ``limit`` requests of ``owner`` at ``source``, oldest first, as they were stored."""
        return queries.requests(self._db, source=source, owner=owner, limit=limit)

    def whole_turns(
        self, *, after: str = "", until: str = "~", session: SessionKey | None = None, tenant: str | None = None
    ) -> Iterator[Interaction]:
        """Yield one interaction per turn, session by session; see ``queries.whole_turns``."""
        return queries.whole_turns(self._db, after=after, until=until, session=session, tenant=tenant)

    def tool_use(self, *, after: str, until: str, limit: int) -> list[ToolUse]:
        """Return the tools of the first ``limit`` interactions that had any, after ``after`` and up to ``until``."""
        return queries.tool_use(self._db, after=after, until=until, limit=limit)

    def find(self, interaction_id: str) -> Interaction | None:
        """Return the interaction, or None when the log does not have it."""
        return next(iter(self._select("WHERE id = ?", (interaction_id,), 1)), None)

    def of_reference(self, reference: str, *, owner: str) -> Interaction | None:
        """Return ``owner``'s newest interaction whose answer has this id at the client; None when there is none."""
        where = "WHERE reference = ? AND reference != '' AND owner = ?"
        return next(iter(self._select(where, (plain_reference(reference), owner), 1)), None)

    def count(self, after: str = "", *, tenant: str | None = None) -> tuple[int, str]:
        """Return the number of interactions after the id ``after``, and the id of the last one ("" without one).

        Here and below, ``tenant`` None stands for all interactions, else those of this tenant ("": of none) count.
        """
        theirs, values = _of_tenant(tenant)
        query = f"SELECT count(*), max(id) FROM interactions WHERE id > ? {theirs}"
        with self._db.transaction("BEGIN") as db:
            number, last = db.execute(query, (after, *values)).fetchone()
        return number, last or ""

    def stored_at(self, number: int, *, after: str = "", tenant: str | None = None) -> float | None:
        """Return the time of the ``number``-th (from 1) interaction after ``after``, in seconds since the epoch, UTC.

        None when there are fewer.
        """
        theirs, values = _of_tenant(tenant)
        query = f"SELECT created_at FROM interactions WHERE id > ? {theirs} ORDER BY id LIMIT 1 OFFSET ?"
        with self._db.transaction("BEGIN") as db:
            row = db.execute(query, (after, *values, max(0, number - 1))).fetchone()
        return row[0] if row else None

    def back(self, count: int, *, from_id: str, tenant: str | None = None) -> str:
        """Return the id after which there are ``count`` interactions up to ``from_id``; "" when there are fewer."""
        theirs, values = _of_tenant(tenant)
        query = f"SELECT id FROM interactions WHERE id <= ? {theirs} ORDER BY id DESC LIMIT 1 OFFSET ?"
        with self._db.transaction("BEGIN") as db:
            row = db.execute(query, (from_id, *values, max(0, count))).fetchone()
        return row[0] if row else ""

    def _select(
        self, where: str, values: tuple[Any, ...], limit: int | None, *, newest: bool = True
    ) -> list[Interaction]:
        order = "DESC" if newest else "ASC"
        query = f"SELECT {COLUMNS} FROM interactions {where} ORDER BY id {order} LIMIT ?"
        # One read transaction: feedback belongs to the same state of the log as the interactions.
        with self._db.transaction("BEGIN") as db:
            found = queries.interactions_of(
                db, db.execute(query, (*values, _ALL if limit is None else min(limit, _ALL))).fetchall()
            )
        return found[::-1] if newest else found


def _of_tenant(tenant: str | None) -> tuple[str, tuple[str, ...]]:
    return ("", ()) if tenant is None else ("AND tenant = ?", (tenant,))
