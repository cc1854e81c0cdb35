"""The Postgres server of each data folder, where config.toml names one.

Databases are opened by their path in many places. Which server has what belongs to a folder is one fact of the process,
told when its configuration is read.
"""

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

_servers: dict[Path, str] = {}
_HOST = r"(?:\[[^\]\s]*\]|[^:,@/?#\[\]\s]*)(?::\d*)?"
_ADDRESS = re.compile(
    rf"postgres(?:ql)?://(?:[^:@/?#\s]*@)?{_HOST}(?:,{_HOST})*(?:/[^?#\s]*)?(?:\?(?P<query>[^#\s]*))?"
)
_PASSWORD = "write the password into ~/.pgpass or set PGPASSWORD"


def keep(data_folder: Path, url: str) -> None:
    """Remember that the databases of ``data_folder`` are on the server at ``url``; "": that they are files in it."""
    if url:
        _servers[data_folder.absolute()] = url
    else:
        _servers.pop(data_folder.absolute(), None)


def server_of(data_folder: Path) -> str:
    """Return the address of the server that has the databases of ``data_folder``; "" where they are files in it."""
    return _servers.get(data_folder.absolute(), "")


def without_password(url: Any) -> str:
    """Return ``url``. Raises ValueError, which does not show it, where it is no address of a Postgres server, or one
    with a password."""
    if url == "":
        return ""
    if not isinstance(url, str) or not (parts := _ADDRESS.fullmatch(url)):
        raise ValueError(f"is no address without a password; write postgresql://USER@HOST/DATABASE, and {_PASSWORD}")
    names = [name.lower() for name, _ in parse_qsl(parts["query"] or "", keep_blank_values=True)]
    if any("password" in name for name in names):
        raise ValueError(f"holds a password; leave it out, and {_PASSWORD}")
    return url
