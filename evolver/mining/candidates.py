"""The turns that could become tasks, kept on disk while the log is read: a million of them need no memory."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, cast

from agent.log.queries import SessionKey
from agent.storage.database import sqlite3  # pyright: ignore[reportPrivateImportUsage]
from evolver.types import TaskKind

_TABLES = """
    CREATE TABLE candidate (said BLOB, rank INTEGER, id TEXT, kind TEXT, source TEXT, tenant TEXT, owner TEXT,
        session TEXT, made BLOB, PRIMARY KEY (said, rank, id)) WITHOUT ROWID;
    CREATE TABLE request (said BLOB PRIMARY KEY, first TEXT) WITHOUT ROWID;
    CREATE INDEX request_first ON request (first);
    CREATE INDEX candidate_corrected ON candidate (id) WHERE rank = 0;
"""
_REQUESTS = "SELECT said FROM request INDEXED BY request_first ORDER BY first"
_COLUMNS = "id, kind, source, tenant, owner, session, said, made"
_BEST_FIRST = f"SELECT {_COLUMNS} FROM candidate WHERE said = ? AND rank > 0 ORDER BY rank, id"
_CORRECTED = f"SELECT {_COLUMNS} FROM candidate INDEXED BY candidate_corrected WHERE rank = 0 ORDER BY id"
"""All in the order of an index: SQLite may be built to sort in memory, and there may be a million rows."""


_AGREEMENT = """
    SELECT count(DISTINCT session) FILTER (WHERE made = :made), count(DISTINCT session) FILTER (WHERE made != :made)
    FROM candidate WHERE said = :said AND made != x''
"""


class Candidate(NamedTuple):
    """A turn by its ``id``; ``kind`` is the kind of task that it would be. Turns with one request have one ``said``;
    those of clients that worked with equal calls one ``made``, which is empty for all others."""

    id: str
    kind: TaskKind
    session: SessionKey
    said: bytes = b""
    made: bytes = b""


class Candidates:
    """Turns grouped by request, in a temporary folder that goes with the block."""

    def __enter__(self) -> "Candidates":
        with ExitStack() as stack:
            folder = stack.enter_context(TemporaryDirectory(prefix="mining-"))
            self._db = stack.enter_context(closing(sqlite3.connect(f"{folder}/candidates.db", isolation_level=None)))
            self._db.executescript(
                f"PRAGMA journal_mode=OFF; PRAGMA cache_size=-16000; PRAGMA synchronous=OFF; BEGIN; {_TABLES}"
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def add(self, candidate: Candidate, *, rank: int) -> None:
        """Note a turn; of those with one request the lowest ``rank`` is best: 0 for one that a person corrected."""
        said = candidate.said
        row = (said, rank, candidate.id, candidate.kind, *candidate.session, candidate.made)
        self._db.execute("INSERT INTO candidate VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        self._db.execute(
            "INSERT INTO request VALUES (?, ?) ON CONFLICT DO UPDATE SET first = min(first, excluded.first)",
            (said, candidate.id),
        )

    def corrected(self) -> Iterator[Candidate]:
        """Yield the turns of rank 0 in the order of the log."""
        return map(_candidate, self._db.execute(_CORRECTED))

    def requests(self) -> Iterator[tuple[bytes, Iterator[Candidate]]]:
        """Yield the ``said`` of each request with its turns of other ranks, best first; the requests in the order in
        which they were made first."""
        for (said,) in self._db.execute(_REQUESTS):
            yield said, map(_candidate, self._db.execute(_BEST_FIRST, (said,)))

    def agreement(self, candidate: Candidate) -> tuple[int, int]:
        """Return in how many conversations the request of a client's turn got the same calls, and in how many not."""
        found = self._db.execute(_AGREEMENT, {"said": candidate.said, "made": candidate.made}).fetchone()
        return found[0], found[1]


def _candidate(row: Sequence[Any]) -> Candidate:
    return Candidate(row[0], cast("TaskKind", row[1]), SessionKey(*row[2:6]), *row[6:])
