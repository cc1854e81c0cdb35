"""History of the active adapter, as the ledger has it."""

from agent.turn.messages import BASE
from evolver.store.ledger import Ledger
from toolkit.errors import UserError


def before(current: str, ledger: Ledger) -> str:
    """Return what served before ``current`` was promoted; adapters that were taken out of service since are passed
    over.

    Raises UserError where there is nothing: the base model served first.
    """
    gone = {row.name for row in ledger.adapters() if row.state in ("withdrawn", "removed")}
    for release in ledger.releases():
        if release.adapter == current and release.previous not in gone | {current}:
            return release.previous
    if current == BASE:
        raise UserError("the base model serves already; nothing to go back to")
    return BASE


def serves_since(current: str, ledger: Ledger) -> float:
    """Return when the active adapter began to serve, seconds since the epoch; 0 where the ledger does not say."""
    began = 0.0
    for release in ledger.releases():
        if release.adapter != current:
            break
        began = release.at
    return began
