"""Opening the project's databases: SQLite files with safe settings, migrations and explained errors, or Postgres.

WAL with ``synchronous=FULL``: what a finished transaction wrote is on disk.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.errors import StorageError
from agent.storage.database_server import server_of
from agent.storage.file_system import check_file_system
from agent.storage.postgres import open_postgres
from agent.storage.statements import LOG_LOCK, OpenDatabase, Steps
from toolkit.errors import PrerequisiteError
from toolkit.lean_imports import absent

with absent("numpy"):  # its column types, for those who store such values
    from sqlite_utils import Database as SqliteUtilsDatabase
    from sqlite_utils import Migrations
    from sqlite_utils.utils import sqlite3  # pyright: ignore[reportPrivateImportUsage]  # pysqlite3 where there is one

MINIMUM_SQLITE = (3, 51, 3)
"""Older versions can corrupt a WAL database that two connections write (sqlite.org/wal.html, "the WAL-reset bug")."""

_BUSY_SECONDS = 30.0
_RETRY_SECONDS = 0.01


class Database:
    """An open database that threads may share. Every failure is a StorageError of one line, with the fix."""

    def __init__(self, path: Path, db: SqliteUtilsDatabase) -> None:
        self._path = path
        self.raw = db
        self._lock = threading.Lock()

    @contextmanager
    def transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[SqliteUtilsDatabase]:
        """Run the block in one transaction: committed when the block ends, undone when it raises."""
        with _explained(self._path), self._lock:
            self.raw.conn.execute(begin)
            try:
                yield self.raw
                self.raw.conn.execute("COMMIT")
            except BaseException:
                self.raw.rollback()
                raise

    @contextmanager
    def erasing(self, *tables: str) -> Iterator[SqliteUtilsDatabase]:
        """Run a block that deletes in one transaction; what it frees is overwritten, in the journal too."""
        with self.transaction() as db:
            yield db
        with _explained(self._path):
            self.raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        self.raw.close()


def open_database(path: Path, migrations: Migrations, steps: Steps = (), *, lock: int = LOG_LOCK) -> OpenDatabase:
    """Open ``path`` for writing, made if it does not exist; or what the server of its folder has in its stead.

    ``steps``: the schema there; without one, it is always a file. ``lock``: that of its writers there. Raises
    StorageError, and PrerequisiteError when SQLite is too old or the file system would damage the database.
    """
    if steps and (url := server_of(path.parent)):
        return open_postgres(url, steps, lock=lock)
    return open_file(path, migrations)


def open_file(path: Path, migrations: Migrations) -> Database:
    """Open the SQLite database at ``path`` for writing, made if it does not exist. Raises as ``open_database``."""
    check_sqlite_version()
    check_file_system(path)
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)  # what people say is their own; the files beside it get the same mode
        db = SqliteUtilsDatabase(_connect(f"{path.absolute().as_uri()}?mode=rw"))
        _enable_wal(db)
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA foreign_keys=ON")
        # Pages move while others write: without it their old places keep texts that are deleted later.
        db.execute("PRAGMA secure_delete=ON")
    database = Database(path, db)
    with database.transaction():
        migrations.apply(db)
    return database


def open_readonly(path: Path, migrations: Migrations, steps: Steps = ()) -> OpenDatabase:
    """Open a database for a reader that must not write. A database that does not exist yet reads as empty."""
    if steps and (url := server_of(path.parent)):
        return open_postgres(url, steps, writable=False)
    return open_file_readonly(path, migrations)


def open_file_readonly(path: Path, migrations: Migrations) -> Database:
    """Open the SQLite database at ``path`` for a reader; see ``open_readonly``."""
    check_sqlite_version()
    check_file_system(path)
    with _explained(path):
        if path.exists():
            db = SqliteUtilsDatabase(_connect(f"{path.absolute().as_uri()}?mode=ro"))
            if migrations.pending(db):  # written by an older version
                db.close()
                open_file(path, migrations).close()
                db = SqliteUtilsDatabase(_connect(f"{path.absolute().as_uri()}?mode=ro"))
        else:
            db = SqliteUtilsDatabase(memory=True)
            migrations.apply(db)
        db.execute("PRAGMA query_only=ON")
    return Database(path, db)


def check_sqlite_version(version: str | None = None) -> None:
    """Raise PrerequisiteError when the SQLite in use is older than MINIMUM_SQLITE."""
    version = version or sqlite3.sqlite_version
    if tuple(int(part) for part in version.split(".")) < MINIMUM_SQLITE:
        needed = ".".join(map(str, MINIMUM_SQLITE))
        raise PrerequisiteError(f"SQLite {version} is too old ({needed} or newer is needed): pip install -U pysqlite3")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StorageError(f"{path}: {_explain(error)}") from error


def _enable_wal(db: SqliteUtilsDatabase) -> None:
    """SQLite's busy timeout does not cover this change: of several who open a new database, all but one would fail."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            return db.enable_wal()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)


def _connect(uri: str) -> Any:
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, check_same_thread=False)


def _explain(error: Exception) -> str:
    text = str(error)
    if "disk is full" in text or getattr(error, "errno", None) == 28:
        return "the disk is full; free some space and try again"
    if "readonly" in text or "unable to open" in text or isinstance(error, PermissionError):
        return "cannot be written; give yourself the right to write there, or set data_folder in config.toml"
    if "malformed" in text or "not a database" in text:
        return "is damaged; move it away or restore a backup"
    if "locked" in text:
        return "another program keeps it locked; end that program and try again"
    return f"{text}; check that folder's disk and rights"
