"""A copy of the data folder, taken while everything runs.

Databases are copied by SQLite's online backup, the pointer with the ledger, small files that are only replaced as a
whole (API keys, what the servers must have) as they are, adapters (which never change) as hard links where the disk
allows. A cycle that runs meanwhile is cut off in the copy, and goes on there when the copy is used. Models are left
out: they can be made again; so are log and ledger on Postgres, which has tools of its own for that.
"""

import os
import shutil
from contextlib import closing, suppress
from pathlib import Path

from agent.adapters import active, required
from agent.log.migrations import migrations as agent_migrations
from agent.serving.gateway.access import api_keys
from agent.storage.database import Migrations, open_file_readonly, sqlite3  # pyright: ignore[reportPrivateImportUsage]
from agent.storage.database_server import server_of
from evolver.store.ledger import Ledger
from evolver.store.migrations import migrations
from toolkit import durable_file
from toolkit.config import APPROVED_FOLDER
from toolkit.errors import UserError


def back_up(data_folder: Path, target: Path, ledger: Ledger) -> None:
    """Make ``target``, whole and on disk or not at all.

    Raises UserError if it exists or cannot be made, StorageError, OSError.
    """
    draft = target.with_name(f".{target.name}.draft")
    with durable_file.writing_to(target):
        if target.exists():
            raise UserError(f"{target} exists; name a folder that does not")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True, mode=0o700)
    with ledger.together():
        for tenant in ("", *active.tenants(data_folder)):
            _copy_if_there(active.path(data_folder, tenant), draft)
        if not server_of(data_folder):
            _copy_database(data_folder / "evolution.db", draft, migrations)
    if not server_of(data_folder):
        _copy_database(data_folder / "interactions.db", draft, agent_migrations)
    for path in (api_keys.path(data_folder), required.path(data_folder)):
        _copy_if_there(path, draft)
    for folder in ("adapters", "cycles", "evaluations", APPROVED_FOLDER):
        _copy_folder(data_folder / folder, draft / folder)
    durable_file.publish_folder(draft, target)


def _copy_if_there(path: Path, folder: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.copy2(path, folder / path.name)


def _copy_database(path: Path, folder: Path, steps: Migrations) -> None:
    target = folder / path.name
    target.touch(mode=0o600)
    with closing(open_file_readonly(path, steps)) as source, closing(sqlite3.connect(target)) as copy:
        source.raw.conn.backup(copy)


def _copy_folder(source: Path, target: Path) -> None:
    """Folders whose names begin with a dot are work in progress."""
    for path in sorted(source.rglob("*")):
        place = path.relative_to(source)
        if any(part.startswith(".") for part in place.parts) or not path.is_file():
            continue
        (target / place).parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            _copy(path, target / place, may_link=source.name == "adapters")


def _copy(source: Path, target: Path, *, may_link: bool) -> None:
    if may_link:
        with suppress(OSError):
            os.link(source, target)
            return
    shutil.copy2(source, target)
