"""Requirements on a Postgres server, and its errors in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from agent.errors import StorageError
from toolkit.errors import PrerequisiteError

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]


MINIMUM_POSTGRES = 14


_EXPLAINED = {
    "53100": "the disk is full; free some space and try again",
    "25006": "cannot be written by a reader, or is a standby; write to the primary server",
    "42501": "{text}; let that user CREATE and CONNECT in its database, and own the schema apprentice",
    "55P03": "another program keeps it locked; end that program and try again",
    "password": "{text}; write the password into ~/.pgpass, or set PGPASSWORD",
    "": "{text}; check [agent] database in config.toml, and that the server runs",
}
"""The line to say of an error, by its SQLSTATE; ``password`` and "" are of connections that were not made."""


def checked(url: str, connection: "Connection") -> "Connection":
    """Return ``connection`` if its server keeps what it commits, in the encoding that it is given in."""
    found = {
        name: connection.execute("SELECT current_setting(%s)", (name,)).fetchone() or ("",)
        for name in ("server_version_num", "server_encoding", "fsync", "synchronous_commit")
    }
    problem = ""
    if int(found["server_version_num"][0]) < MINIMUM_POSTGRES * 10_000:
        problem = f"is older than Postgres {MINIMUM_POSTGRES}; install a newer server"
    elif found["server_encoding"][0] != "UTF8":
        problem = f"is encoded in {found['server_encoding'][0]}; make the database with ENCODING 'UTF8'"
    elif found["fsync"][0] != "on":
        problem = "may lose what it commits; set fsync = on in its postgresql.conf"
    if problem:
        connection.close()
        raise PrerequisiteError(f"{url}: {problem}")
    if found["synchronous_commit"][0] == "off":
        connection.execute("SET synchronous_commit = on")
    return connection


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Raise errors of the server at ``url`` in the block as StorageError, in one line with the fix."""
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        raise StorageError(f"{url}: {explain(error)}") from error
    except OSError as error:  # of a file that is written in the transaction
        where = error.filename or url
        raise StorageError(f"{where}: {error.strerror or error}; check that folder's disk and rights") from error


def explain(error: "psycopg.Error") -> str:
    """Return the line to say of ``error``."""
    text = error.diag.message_primary or (str(error).strip() or repr(error)).splitlines()[0].strip()
    state = error.sqlstate or ("password" if "password" in text else "")
    return _EXPLAINED.get(state, "{text}; check the log of that server").format(text=text)
