"""History of the active adapter, as the ledger has it."""

from agent.adapters.active import SHARED
from agent.turn.messages import BASE
from evolver.store.ledger import Ledger
from toolkit.errors import UserError


def before(current: str, ledger: Ledger) -> str:
    """Return the name that served the ledger's tenant before ``current``, ignoring adapters that were withdrawn or
    removed since.

    Raises UserError if nothing served before: for everybody the base model serves first, for a tenant everybody's.
    """
    gone = {row.name for row in ledger.adapters() if row.state in ("withdrawn", "removed")}
    for release in ledger.releases():
        if release.adapter == current and release.previous not in gone | {current}:
            return release.previous
    if current == first(ledger):
        if ledger.tenant:
            raise UserError(f"{ledger.tenant} has no adapter of its own; nothing to go back to")
        raise UserError("the base model serves already; nothing to go back to")
    return first(ledger)


def shared_before(current: str, ledger: Ledger) -> str:
    """Return the adapter that served everybody when ``current`` took its place for the ledger's tenant."""
    changes = ledger.all_releases()
    shared = [change for change in changes if not change.tenant]
    taken = (ledger.tenant, current, SHARED)
    began = next((one.number for one in changes if (one.tenant, one.adapter, one.previous) == taken), None)
    earlier = [change.adapter for change in shared if began is None or change.number < began]
    if earlier:
        return earlier[0]
    return shared[-1].previous if shared else BASE


def first(ledger: Ledger) -> str:
    """Return the active adapter of the ledger's tenant until something is promoted for it."""
    return SHARED if ledger.tenant else BASE


def serves_since(current: str, ledger: Ledger) -> float:
    """Return the time since which the active adapter serves, seconds since the epoch; 0 if the ledger does not tell."""
    began = 0.0
    for release in ledger.releases():
        if release.adapter != current:
            break
        began = release.at
    return began
