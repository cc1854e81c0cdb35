"""The interaction log as imports write it: each turn once, also after it was deleted."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from agent.imports.record import Digest, ImportReason
from agent.log.entries import Entry
from agent.log.interaction_log import InteractionLog
from agent.storage.statements import Statements
from agent.turn.messages import is_foreign

_FIND = (
    "SELECT interactions.id, adapter FROM imported LEFT JOIN interactions ON interactions.id = interaction_id "
    "WHERE digest = ?"
)
_IS_FORGOTTEN = (
    "SELECT 1 FROM imported LEFT JOIN interactions ON interactions.id = interaction_id "
    "WHERE content = ? AND content != x'' AND interactions.id IS NULL LIMIT 1"
)
_REMEMBER = "INSERT INTO imported (digest, interaction_id, content) VALUES (?, ?, ?)"

Add = Callable[[Entry, Digest, str], "Stored"]
"""Takes an entry, its digest, and the interaction that it continues ("" for none)."""


class Stored(NamedTuple):
    """The interaction that holds a turn, and the reason why it was not stored now. ``adapter``: the model that an
    earlier import named."""

    id: str
    reason: ImportReason | None = None
    adapter: str = ""

    def is_freed_by(self, entry: Entry) -> bool:
        """Return whether the turn may be learned from as of ``entry``, and could not before."""
        return bool(self.id) and is_foreign(self.adapter) and not is_foreign(entry.adapter)


class ImportLog(InteractionLog):
    """An open log with the digests of what was imported, which stay when an interaction is forgotten."""

    @contextmanager
    def import_batch(self) -> Iterator[Add]:
        """Store turns in one transaction: all that are new are on disk when the block ends, none when it raises."""
        with self._db.transaction() as db:
            add = self._adder(db)

            def add_once(entry: Entry, digest: Digest, continues: str = "") -> Stored:
                known = _known(db, digest)
                if known is not None:
                    if known.is_freed_by(entry):
                        _rename(db, known.id, entry.adapter)
                    return known
                stored = Stored(add(entry, continues))
                db.execute(_REMEMBER, (digest.turn, stored.id, digest.content))
                return stored

            yield add_once

    def known(self, digest: Digest) -> Stored | None:
        """Return the stored turn if this one was imported before, else None.

        A turn that was imported for another owner or tenant is another, unless it was forgotten since.
        """
        with self._db.transaction("BEGIN") as db:
            return _known(db, digest)


def _rename(db: Statements, identity: str, adapter: str) -> None:
    """Let the model of an interaction be ``adapter``."""
    (text,) = db.execute("SELECT trajectory FROM interactions WHERE id = ?", (identity,)).fetchone()
    trajectory = json.dumps({**json.loads(text), "adapter": adapter}, ensure_ascii=False)
    db.execute("UPDATE interactions SET adapter = ?, trajectory = ? WHERE id = ?", (adapter, trajectory, identity))


def _known(db: Statements, digest: Digest) -> Stored | None:
    row = db.execute(_FIND, (digest.turn,)).fetchone()
    if row is not None and row[0] is not None:
        return Stored(row[0], ImportReason.KNOWN, row[1])
    if row is not None or db.execute(_IS_FORGOTTEN, (digest.content,)).fetchone() is not None:
        return Stored("", ImportReason.FORGOTTEN)
    return None
