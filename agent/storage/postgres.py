"""Opening databases on a Postgres server, for several gateways: the same transactions as those of SQLite.

Writers come one after the other over all machines, by a lock of the server: ids sort by storing. What a finished
transaction wrote is on the server's disk. A connection that breaks is made anew; where it broke in a commit, the server
is asked what became of it, so that nothing is stored twice.
"""

import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from agent.errors import CommitUnknown, ConnectionLost, DatabaseUnavailable, StorageError
from agent.storage.postgres_server import checked, explain, explained
from agent.storage.postgres_sql import for_postgres, values_for_postgres
from agent.storage.statements import LOG_LOCK, Steps
from toolkit.errors import PrerequisiteError

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

SCHEMA = "apprentice"

_MIGRATION_LOCK = 0x61707073
"""The advisory lock of the one that changes the schema."""
_COUNT = """
    INSERT INTO writers (name, number, at) VALUES (%s, %s, now())
    ON CONFLICT (name) DO UPDATE SET number = excluded.number, at = excluded.at
"""
"""Numbers of a writer's transactions. One of the server's own may come again after a crash, for another transaction."""
_PATIENCE_SECONDS = 30.0
"""The time that a server which is gone has to come back."""
_RETRY_SECONDS = 0.1
_OWN_TABLES = """
    CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS writers (name text PRIMARY KEY, number bigint NOT NULL, at timestamptz NOT NULL);
"""
_FORGOTTEN_DAYS = 7
_SESSION = {
    "search_path": SCHEMA,
    # A snapshot is taken after the wait for the writers' lock, also where the server's default is another.
    "default_transaction_isolation": "read committed",
    # A machine that loses its power in a transaction holds the writers' lock: others wait this long, and not less.
    "idle_in_transaction_session_timeout": "30s",
    "lock_timeout": "60s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


class PostgresStatements:
    """The database inside of a transaction; see ``agent.storage.statements``."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Any = None, /) -> Any:
        """Run one statement and return its cursor."""
        return self._connection.execute(for_postgres(sql), values_for_postgres(parameters))


class PostgresDatabase:
    """An open database on a server; see ``agent.storage.statements``.

    ``lock``: those with the same one write one after the other. ``patience``: the seconds that a server which is gone
    has to come back, None for as many as a writer waits.
    """

    def __init__(self, url: str, *, writable: bool = True, lock: int = LOG_LOCK, patience: float | None = None) -> None:
        self._url, self._writable, self._patience = url, writable, patience
        self._begin_writing = f"BEGIN; SELECT pg_advisory_xact_lock({lock})".encode()
        self._name, self._number = uuid.uuid4().hex, 0
        self._lock = threading.Lock()
        with explained(url):
            self._connection = self._connected()

    @contextmanager
    def transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[PostgresStatements]:
        """Run the block in one transaction: committed when the block ends, undone when it raises.

        Raises ConnectionLost where the connection broke and DatabaseUnavailable where the server was waited for in
        vain, with nothing of the transaction in the database; CommitUnknown where it may be there.
        """
        import psycopg

        reads = begin == "BEGIN"
        with explained(self._url), self._lock:
            try:
                self._begin(reads=reads)
                yield PostgresStatements(self._connection)
                self._commit(reads=reads)
            except psycopg.OperationalError as error:
                self._undo()
                if self._connection.closed:
                    raise ConnectionLost(f"{self._url}: {explain(error)}") from error
                if isinstance(error, psycopg.errors.LockNotAvailable):
                    raise DatabaseUnavailable(f"{self._url}: {explain(error)}") from error
                raise
            except BaseException:
                self._undo()
                raise

    @contextmanager
    def erasing(self, *tables: str) -> Iterator[PostgresStatements]:
        """Run a block that deletes in one transaction; then free the rows that were deleted from ``tables``.

        Raises StorageError also where they are deleted and cannot be freed, which it says.
        """
        import psycopg

        with self.transaction() as db:
            yield db
        try:
            with self._lock:
                self._free(tables)
        except (psycopg.Error, StorageError) as error:
            problem = explain(error) if isinstance(error, psycopg.Error) else str(error)
            freed = f"its space is freed by: VACUUM (INDEX_CLEANUP ON) {', '.join(tables)}"
            raise StorageError(f"{self._url}: it is deleted there; {freed}; that failed ({problem})") from error

    def _free(self, tables: Sequence[str]) -> None:
        """Free what was deleted, in the indexes too; once again where the connection breaks."""
        import psycopg

        for again in (True, False):
            if self._connection.closed:
                self._connect_again()
            try:
                self._connection.execute(f"VACUUM (INDEX_CLEANUP ON) {', '.join(tables)}".encode())
            except psycopg.OperationalError:
                if not (again and self._connection.closed):
                    raise
            else:
                return

    def migrate(self, steps: Steps) -> None:
        """Take the steps that the database lacks, all or none."""
        with explained(self._url), self._lock:
            if self._known() >= {name for name, _ in steps}:
                return
            with self._connection.transaction():
                self._connection.execute("SET TRANSACTION READ WRITE")
                self._connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
                self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}".encode())
                self._connection.execute(_OWN_TABLES.encode())
                known = self._known()
                for name, statements in steps:
                    if name not in known:
                        self._connection.execute(statements.encode())
                        self._connection.execute("INSERT INTO migrations VALUES (%s)", (name,))

    def close(self) -> None:
        """Close the connection, and forget this writer."""
        import psycopg

        with suppress(psycopg.Error), self._lock:
            if self._number:
                query = f"DELETE FROM writers WHERE name = %s OR at < now() - interval '{_FORGOTTEN_DAYS} days'"
                self._connection.execute(query.encode(), (self._name,))
        self._connection.close()

    def _known(self) -> set[str]:
        """Return the names of the steps that were taken."""
        if self._connection.execute("SELECT to_regclass('migrations')").fetchone() == (None,):
            return set()
        return {name for (name,) in self._connection.execute("SELECT name FROM migrations").fetchall()}

    def _begin(self, *, reads: bool) -> None:
        """Begin a transaction; one that writes waits for its turn and counts itself."""
        import psycopg

        for again in (True, False):
            if self._connection.closed:
                self._connect_again()
            try:
                if reads:
                    self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                else:
                    self._connection.execute(self._begin_writing)
                    self._connection.execute(_COUNT, (self._name, self._number + 1))
                    self._number += 1
            except psycopg.OperationalError:
                if not (again and self._connection.closed):
                    raise
            else:
                return

    def _connect_again(self) -> None:
        """Make a new connection. Raises DatabaseUnavailable where the server does not come back in time."""
        import psycopg

        try:
            self._connection = self._connected(patience=_PATIENCE_SECONDS if self._patience is None else self._patience)
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable(f"{self._url}: {explain(error)}") from error

    def _undo(self) -> None:
        import psycopg

        with suppress(psycopg.Error):
            self._connection.execute("ROLLBACK")

    def _commit(self, *, reads: bool) -> None:
        """Commit. Where the connection breaks meanwhile, nothing is raised if the server has committed."""
        import psycopg

        try:
            self._connection.execute("COMMIT")
        except psycopg.OperationalError as error:
            if reads or not self._connection.closed or not self._was_committed(error):
                self._connection.close()
                raise

    def _was_committed(self, error: "psycopg.OperationalError") -> bool:
        import psycopg

        try:
            return self._is_committed()
        except psycopg.Error:
            raise CommitUnknown(
                f"{self._url}: {explain(error)}; it is not known whether the last turns are stored"
            ) from error

    def _is_committed(self) -> bool:
        """Return whether the server, once it is there again and the transaction has ended there, has its number."""
        self._connection = self._connected(patience=_PATIENCE_SECONDS)
        self._connection.execute(self._begin_writing)
        found = self._connection.execute("SELECT number FROM writers WHERE name = %s", (self._name,)).fetchone()
        self._connection.execute("COMMIT")
        return found == (self._number,)

    def _connected(self, *, patience: float = 0.0) -> "Connection":
        """Return a new connection, within ``patience`` seconds where the server is not there."""
        import psycopg

        deadline = time.monotonic() + patience
        while True:
            try:
                return checked(self._url, self._opened())
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_RETRY_SECONDS)

    def _opened(self) -> "Connection":
        import psycopg

        connection = psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=10,
            application_name="apprentice",
            client_encoding="utf8",
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=30_000,
        )
        session = {**_SESSION, "default_transaction_read_only": "off" if self._writable else "on"}
        for name, value in session.items():
            connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        return connection


def open_postgres(
    url: str, steps: Steps, *, writable: bool = True, lock: int = LOG_LOCK, patience: float | None = None
) -> PostgresDatabase:
    """Open the database at ``url``, and bring its schema up to date; see ``PostgresDatabase``.

    Raises StorageError, and PrerequisiteError where psycopg is missing or the server would lose what is committed.
    """
    try:
        import psycopg  # noqa: F401
    except ImportError:
        raise PrerequisiteError(
            "[agent] database needs psycopg; install it: pip install 'apprentice-agent[postgres]', or leave it out"
        ) from None
    database = PostgresDatabase(url, writable=writable, lock=lock, patience=patience)
    try:
        database.migrate(steps)
    except BaseException:
        database.close()
        raise
    return database
