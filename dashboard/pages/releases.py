"""``/releases``: what happened when?"""

from collections.abc import Sequence
from urllib.parse import urlencode

from starlette.responses import Response

from agent.adapters import active
from agent.http.http_error import HttpError
from dashboard import databases
from dashboard.desk import PAGE_ROWS, Desk, Visit, paging, see
from dashboard.figures import evolution
from dashboard.figures.evolution import Serving
from dashboard.figures.releases import Change, Turns, count, listed, since_change, turns
from evolver.release import by_person
from evolver.store.tenants import check_known


def page(desk: Desk, visit: Visit) -> Response:
    """Return every change of the active adapter, the newest first, and what the monitor sees since the last one: for
    everybody, or for the tenant that the visit asks for."""
    tenant, tenants = visit.asked("tenant"), active.tenants(desk.data)
    if tenant and tenant not in tenants:
        raise HttpError(404, f"the tenant {tenant[:60]!r} has no pointer of its own; there is: {', '.join(tenants)}")
    with databases.ledger(desk.data, tenant) as ledger:
        with ledger.reading() as db:
            pages = paging(visit, count(db))
            rows = listed(db, limit=PAGE_ROWS, offset=(pages.number - 1) * PAGE_ROWS)
        shown = f"turns {[row.release.number for row in rows[:1]]} {len(rows)}"
        return desk.page(
            visit,
            "releases.html",
            rows=list(zip(rows, desk.kept(shown, lambda: _turns(desk, rows)), strict=True)),
            pages=pages,
            tenant=tenant,
            tenants=[(one, _serving(desk, one)) for one in tenants],
            serving=evolution.serving(desk.config, ledger),
            trial=desk.kept(f"trial {tenant}".strip(), lambda: evolution.trial(desk.config, ledger)),
            monitor=desk.kept(f"monitor {tenant}".strip(), lambda: since_change(desk.config, ledger)),
        )


def roll_back(desk: Desk, visit: Visit) -> Response:
    """Go back to the one before, for everybody or for a tenant; while an adapter is on trial, end the trial."""
    tenant = visit.form.get("tenant", "")
    check_known(desk.config, tenant)
    with databases.writable_ledger(desk.data, tenant) as ledger:
        by_person.roll_back(desk.config, ledger, None, reason=f"dashboard: roll back {visit.who}")
    return see(visit, f"releases?{urlencode({'tenant': tenant})}" if tenant else "releases")


def _serving(desk: Desk, tenant: str) -> Serving:
    with databases.ledger(desk.data, tenant) as ledger:
        return evolution.serving(desk.config, ledger)


def _turns(desk: Desk, changes: Sequence[Change]) -> list[tuple[Turns, Turns]]:
    with databases.log_rows(desk.data) as db:
        return turns(db, changes)
