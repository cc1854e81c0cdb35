"""The log and the ledger, opened for one visit: read-only for pages, writable for buttons."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from agent.log.interaction_log import FILE, InteractionLog
from agent.log.migrations import migrations as log_migrations
from agent.log.postgres_schema import STEPS
from agent.storage.database import open_readonly
from agent.storage.database_server import server_of
from agent.storage.statements import Statements
from evolver.store.ledger import Ledger

LEDGER = "evolution.db"


def bring_up_to_date(data_folder: Path) -> None:
    """Migrate a ledger of an earlier version, so that no page has to. Raises StorageError."""
    if (data_folder / LEDGER).exists() or server_of(data_folder):
        with writable_ledger(data_folder):
            pass


def ledger(data_folder: Path, tenant: str = "") -> Ledger:
    """Open the ledger of ``tenant`` ("": of everybody) for a reader. Raises StorageError."""
    return Ledger.open_readonly(data_folder / LEDGER, tenant=tenant)


def writable_ledger(data_folder: Path, tenant: str = "") -> Ledger:
    """Open the ledger of ``tenant`` ("": of everybody) for a button. Raises StorageError."""
    return Ledger(data_folder / LEDGER, tenant=tenant)


def log(data_folder: Path) -> InteractionLog:
    """Open the log for a reader. Raises StorageError."""
    return InteractionLog.open_readonly(data_folder / FILE)


@contextmanager
def log_rows(data_folder: Path) -> Iterator[Statements]:
    """Yield the log for queries that all see one state. Raises StorageError."""
    with closing(open_readonly(data_folder / FILE, log_migrations, STEPS)) as opened, opened.transaction("BEGIN") as db:
        yield db
