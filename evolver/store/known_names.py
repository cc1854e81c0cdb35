"""Names of adapters and numbers of cycles that the ledger does not have."""

from evolver.store.ledger import Ledger
from toolkit.errors import UserError
from toolkit.near_names import did_you_mean


def no_adapter(name: str, ledger: Ledger) -> UserError:
    """Return the error for an adapter that the ledger does not have, with the near names of those that it has."""
    question = did_you_mean(name, (row.name for row in ledger.adapters()))
    return UserError(f"there is no adapter {name}; {f'{question} ' if question else ''}see: evolver adapters")


def no_cycle(number: int, ledger: Ledger) -> UserError:
    """Return the error for a cycle that there is not, or not of the ledger's tenant, with the newest that there is."""
    newest = max((row.number for row in ledger.cycles() if ledger.tenant in ("", row.tenant)), default=0)
    fix = f"the newest is {newest}; see: evolver history" if newest else "none has run yet; run one with: evolver cycle"
    return UserError(f"there is no cycle {number}; {fix}")
