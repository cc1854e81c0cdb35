"""``/settings``: who may what?"""

import time

from starlette.responses import RedirectResponse, Response

from agent.serving.gateway.access import api_keys
from dashboard import databases
from dashboard.desk import Desk, Visit, see
from dashboard.figures import settings as figures
from evolver.maintenance.backup import back_up
from evolver.maintenance.doctor import Check, examine

_PAUSED = "paused"


def page(desk: Desk, visit: Visit) -> Response:
    """Return keys, pause, configuration, and the buttons for doctor and backup."""
    return _page(desk, visit)


def create_key(desk: Desk, visit: Visit) -> Response:
    """Make a key and show it, this once."""
    form = visit.form
    scopes = [scope for scope in api_keys.SCOPES if form.get(f"scope-{scope}")]
    key = api_keys.create(desk.data, form.get("name", ""), scopes or ["chat", "feedback"], form.get("tenant", ""))
    return _page(desk, visit, key=key)


def revoke_key(desk: Desk, visit: Visit) -> RedirectResponse:
    """End a key."""
    api_keys.revoke(desk.data, visit.part("name"))
    return see(visit, "settings")


def pause(desk: Desk, visit: Visit) -> RedirectResponse:
    """Let no cycle begin by itself."""
    reason = visit.form.get("reason", "").strip()[:200]
    with databases.writable_ledger(desk.data) as ledger:
        ledger.put_setting(_PAUSED, f"{reason or 'dashboard'} ({visit.who})")
    return see(visit, "settings")


def resume(desk: Desk, visit: Visit) -> RedirectResponse:
    """Let cycles begin again when they are due."""
    with databases.writable_ledger(desk.data) as ledger:
        ledger.put_setting(_PAUSED, "")
    return see(visit, "settings")


def doctor(desk: Desk, visit: Visit) -> Response:
    """Check everything that a cycle needs."""
    return _page(desk, visit, checks=examine(desk.config))


def backup(desk: Desk, visit: Visit) -> Response:
    """Copy the data folder beside itself."""
    target = desk.data.with_name(f"{desk.data.name}-backup-{time.strftime('%Y%m%d-%H%M%S')}")
    with databases.writable_ledger(desk.data) as ledger:
        back_up(desk.data, target, ledger)
    return _page(desk, visit, copy=str(target))


def _page(desk: Desk, visit: Visit, *, key: str = "", checks: list[Check] | None = None, copy: str = "") -> Response:
    with databases.ledger(desk.data) as ledger:
        paused = ledger.setting(_PAUSED)
    return desk.page(
        visit,
        "settings.html",
        keys=api_keys.read(desk.data),
        scopes=api_keys.SCOPES,
        key=key,
        paused=paused,
        checks=checks,
        copy=copy,
        settings=figures.of(desk.config),
    )
