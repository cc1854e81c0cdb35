"""Changes of the active adapter that a person asks for: commands and the dashboard call these. The ledger's tenant is
served.

``reason`` is what the ledger records. All raise UserError with the fix, AdapterInvalid and ModelUnavailable.
"""

from agent.adapters import active
from agent.adapters.active import SHARED
from agent.serving import serving_state
from agent.turn.messages import BASE
from evolver.config import Config
from evolver.release import release
from evolver.store.base_model import configured_sha256
from evolver.store.known_names import no_adapter
from evolver.store.ledger import Ledger
from evolver.store.ledger_rows import AdapterRow
from toolkit.errors import UserError

MOST_ON_TRIAL = 0.5


def promote(config: Config, ledger: Ledger, name: str, *, reason: str) -> str:
    """Let ``name`` serve, whatever the gate said; returns the one that served before."""
    base_sha256 = configured_sha256(config, ledger)
    running = serving_state.read(config.data_folder)
    return release.promote(name, config.data_folder, ledger, running, reason=reason, base_sha256=base_sha256)


def approve(config: Config, ledger: Ledger, name: str, *, reason: str) -> str:
    """Let ``name``, which waits for a person, serve; returns the one that served before."""
    _waiting(ledger, name)
    return promote(config, ledger, name, reason=reason)


def begin_trial(config: Config, ledger: Ledger, name: str, *, share: float, reason: str) -> None:
    """Let ``name`` answer a ``share`` of the sessions. An adapter that is on trial already is withdrawn."""
    if not 0 < share <= MOST_ON_TRIAL:
        raise UserError(f"a trial takes a share of the sessions above 0 and up to {MOST_ON_TRIAL}, not {share:g}")
    if name == active.serving(config.data_folder, ledger.tenant).name:
        raise UserError(f"{name} serves already; see: evolver status")
    base_sha256 = configured_sha256(config, ledger)
    running = serving_state.read(config.data_folder)
    release.begin_trial(name, config.data_folder, ledger, running, share=share, reason=reason, base_sha256=base_sha256)


def reject(ledger: Ledger, name: str, *, reason: str) -> None:
    """Let ``name``, which waits for a person, wait no more; ``reason`` becomes a mark of it."""
    with ledger.together():
        _check_own(_waiting(ledger, name), ledger)
        ledger.set_adapter_state(name, "rejected")
        ledger.mark_adapter(name, reason)


def roll_back(config: Config, ledger: Ledger, name: str | None, *, reason: str) -> tuple[str, str]:
    """Go back to ``name``, or None: to the one before. Returns (the one that served, the one that serves now)."""
    base_sha256 = None if name in (BASE, SHARED) else configured_sha256(config, ledger)
    running = serving_state.read(config.data_folder)
    return release.rollback(config.data_folder, ledger, running, to=name, reason=reason, base_sha256=base_sha256)


def pin(ledger: Ledger, name: str, *, pinned: bool) -> None:
    """Protect ``name`` from removal and from being replaced by a cycle; or lift that."""
    row = ledger.adapter(name)
    if row is None or row.state == "removed":
        raise no_adapter(name, ledger)
    _check_own(row, ledger)
    ledger.pin(name, pinned)


def _check_own(row: AdapterRow, ledger: Ledger) -> None:
    """Raise UserError where a tenant is meant, and the adapter is not its own."""
    if ledger.tenant not in ("", row.tenant):
        whose = f"the tenant {row.tenant}" if row.tenant else "everybody"
        fix = f"see those of {ledger.tenant}: evolver adapters --tenant {ledger.tenant}"
        raise UserError(f"{row.name} is the adapter of {whose}; {fix}")


def _waiting(ledger: Ledger, name: str) -> AdapterRow:
    rows = ledger.adapters()
    waiting = {row.name: row for row in rows if row.state == "waiting"}
    if name not in waiting:
        raise UserError(f"{name} does not wait for approval; waiting: {', '.join(waiting) or 'none'}")
    return waiting[name]
