"""``/releases``: what happened when?"""

from collections.abc import Sequence

from starlette.responses import Response

from dashboard import databases
from dashboard.desk import PAGE_ROWS, Desk, Visit, paging, see
from dashboard.figures import evolution
from dashboard.figures.releases import Change, Turns, count, listed, since_change, turns
from evolver.release import by_person


def page(desk: Desk, visit: Visit) -> Response:
    """Return every change of what serves, the newest first, and what the monitor sees since the last one."""
    with databases.ledger(desk.data) as ledger:
        with ledger.reading() as db:
            pages = paging(visit, count(db))
            rows = listed(db, limit=PAGE_ROWS, offset=(pages.number - 1) * PAGE_ROWS)
        shown = f"turns {[row.release.number for row in rows[:1]]} {len(rows)}"
        return desk.page(
            visit,
            "releases.html",
            rows=list(zip(rows, desk.kept(shown, lambda: _turns(desk, rows)), strict=True)),
            pages=pages,
            serving=evolution.serving(desk.config, ledger),
            trial=desk.kept("trial", lambda: evolution.trial(desk.config, ledger)),
            monitor=desk.kept("monitor", lambda: since_change(desk.config, ledger)),
        )


def roll_back(desk: Desk, visit: Visit) -> Response:
    """Go back to what served before; while an adapter is on trial, end the trial."""
    with databases.writable_ledger(desk.data) as ledger:
        by_person.roll_back(desk.config, ledger, None, reason=f"dashboard: roll back {visit.who}")
    return see(visit, "releases")


def _turns(desk: Desk, changes: Sequence[Change]) -> list[tuple[Turns, Turns]]:
    with databases.log_rows(desk.data) as db:
        return turns(db, changes)
