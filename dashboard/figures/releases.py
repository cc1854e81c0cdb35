"""Changes of what serves, from the ledger, and what the monitor compares."""

from agent.storage.statements import Statements
from evolver.config import Config
from evolver.cycle.daemon import comparison
from evolver.release.monitor import Comparison
from evolver.store.ledger import Ledger, Release
from toolkit.errors import UserError

_COLUMNS = "number, at, adapter, previous, reason, changed_by, cycle"
_NAMES = ("number", "at", "adapter", "previous", "reason", "by", "cycle")


def count(db: Statements) -> int:
    """Count the changes."""
    return db.execute("SELECT count(*) FROM releases").fetchone()[0]


def listed(db: Statements, *, limit: int, offset: int) -> list[Release]:
    """Return a page of changes, the newest first."""
    query = f"SELECT {_COLUMNS} FROM releases ORDER BY number DESC LIMIT ? OFFSET ?"
    rows = db.execute(query, (limit, offset)).fetchall()
    return [Release.model_validate(dict(zip(_NAMES, row, strict=True))) for row in rows]


def since_change(config: Config, ledger: Ledger) -> Comparison | None:
    """Return the monitor's figures with what serves and with what served before; None while the base model serves."""
    try:
        return comparison(config, ledger)
    except UserError:
        return None
