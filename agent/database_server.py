"""The Postgres server of each data folder, where config.toml names one.

Databases are opened by their path in many places. Which server has what belongs to a folder is one fact of the process,
told when its configuration is read.
"""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

_servers: dict[Path, str] = {}


def keep(data_folder: Path, url: str) -> None:
    """Remember that the databases of ``data_folder`` are on the server at ``url``; "": that they are files in it."""
    if url:
        _servers[data_folder.absolute()] = url
    else:
        _servers.pop(data_folder.absolute(), None)


def server_of(data_folder: Path) -> str:
    """Return the address of the server that has the databases of ``data_folder``; "" where they are files in it."""
    return _servers.get(data_folder.absolute(), "")


def without_password(url: str) -> str:
    """Return ``url``. Raises ValueError where a password stands in it, or it is no address of a Postgres server."""
    try:
        parts = urlsplit(url)
        secret = parts.password is not None or "password" in parse_qs(parts.query)
    except ValueError:
        raise ValueError("database is no address; write postgresql://USER@HOST/DATABASE") from None
    if secret:
        raise ValueError("database holds a password; leave it out, and set PGPASSWORD or write it into ~/.pgpass")
    return url
