"""History of the active adapter, as the ledger has it."""

from agent.turn.messages import BASE
from evolver.store.ledger import Ledger
from toolkit.errors import UserError


def before(current: str, ledger: Ledger) -> str:
    """Return the name that served before ``current``, ignoring adapters that were withdrawn or removed since.

    Raises UserError if the base model serves and no adapter served before it.
    """
    gone = {row.name for row in ledger.adapters() if row.state in ("withdrawn", "removed")}
    for release in ledger.releases():
        if release.adapter == current and release.previous not in gone | {current}:
            return release.previous
    if current == BASE:
        raise UserError("the base model serves already; nothing to go back to")
    return BASE


def serves_since(current: str, ledger: Ledger) -> float:
    """Return the time since which the active adapter serves, seconds since the epoch; 0 if the ledger does not tell."""
    began = 0.0
    for release in ledger.releases():
        if release.adapter != current:
            break
        began = release.at
    return began
