"""A real Postgres server on a Unix socket in a temporary folder."""

import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from agent.storage import postgres
from agent.storage.postgres import PostgresDatabase
from agent.storage.statements import OpenDatabase
from tests.fakes.waiting import wait_until

USER = "apprentice"
_SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "32MB",
    "max_connections": "40",
    "autovacuum": "off",
    "log_min_messages": "fatal",
}


class PostgresServer:
    """A server that a test may stop and start; each ``database()`` is a new one."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._folder = programs, folder
        self._numbers = itertools.count(1)
        self._owner = "postgres" if os.getuid() == 0 else None  # initdb refuses root
        if self._owner:
            shutil.chown(folder, self._owner)
        options = ["--username", USER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"]
        self._run("initdb", "--pgdata", str(folder / "data"), *options)
        self.start()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        settings += ["-c", f"unix_socket_directories={self._folder}"]
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data"), *settings]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder, user=self._owner)
        wait_until(self._answers)

    def stop(self, number: int = signal.SIGQUIT) -> None:
        """Stop the server; SIGQUIT: at once, so that it recovers from its journal when it starts again."""
        self._process.send_signal(number)
        self._process.wait(60)

    def url(self, database: str) -> str:
        """Return the address of a database."""
        return f"postgresql://{USER}@/{database}?host={self._folder}"

    def database(self) -> str:
        """Return the address of a new, empty database."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, sql: str) -> None:
        """Run a statement outside of any test's database."""
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.encode())

    def _answers(self) -> bool:
        import psycopg

        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            assert self._process.poll() is None, (self._folder / "log").read_text()
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=self._folder, user=self._owner)


class BreakingConnection:
    """A connection that breaks ``at`` a statement: before the server hears of it, or with its answer on the way."""

    def __init__(self, connection: Any, *, arrives: bool, at: str) -> None:
        self._connection, self._arrives, self._at = connection, arrives, at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, query: Any, *parameters: Any) -> Any:
        import psycopg

        if not (query if isinstance(query, str) else query.decode()).startswith(self._at):
            return self._connection.execute(query, *parameters)
        if self._arrives:
            self._connection.execute(query)
        self._connection.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")


def break_at_commit(database: OpenDatabase, *, arrives: bool) -> None:
    """Let the connection of ``database`` break at its next COMMIT."""
    break_at(database, "COMMIT", arrives=arrives)


def break_at(database: OpenDatabase, statement: str, *, arrives: bool = False) -> None:
    """Let the connection of ``database`` break at the next statement that begins so."""
    assert isinstance(database, PostgresDatabase)
    database._connection = BreakingConnection(database._connection, arrives=arrives, at=statement)  # type: ignore[assignment]


def server_away(monkeypatch: pytest.MonkeyPatch, times: int | None = None) -> Callable[[], int]:
    """Refuse the next ``times`` new connections, None: all; return the count of those that were asked for."""
    import psycopg

    opened, numbers = PostgresDatabase._opened, itertools.count()
    asked: list[int] = []

    def refused(database: PostgresDatabase) -> Any:
        asked.append(next(numbers))
        if times is None or asked[-1] < times:
            raise psycopg.OperationalError("connection refused")
        return opened(database)

    monkeypatch.setattr(postgres, "_PATIENCE_SECONDS", -1.0)
    monkeypatch.setattr(PostgresDatabase, "_opened", refused)
    return lambda: len(asked)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """The machine's Postgres. Without one, or without psycopg, the test is skipped; where CI=true, it fails."""
    programs = _programs()
    if programs is None or find_spec("psycopg") is None:
        missing = "no Postgres server is installed, or no psycopg; run: sh scripts/postgres.sh and make setup"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(missing)
        pytest.skip(missing)
    with TemporaryDirectory(prefix="pg-") as folder:
        server = PostgresServer(programs, Path(folder))
        try:
            yield server
        finally:
            server.stop()


def _programs() -> Path | None:
    """The folder of ``initdb`` and ``postgres``; Debian's is not on the PATH."""
    found = [Path(program).parent for program in (shutil.which("initdb"),) if program]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in found if (folder / "initdb").exists() and (folder / "postgres").exists()), None)
