"""``/``: does it get better?"""

import time
from typing import Any

from starlette.responses import JSONResponse, Response

from dashboard import charts, databases
from dashboard.desk import Desk, Visit
from dashboard.figures import evolution
from dashboard.figures.learning import learning as curves
from dashboard.figures.traffic import Traffic, traffic

_DAY = 86400.0
_FRESH_SECONDS = 4.0
"""However many browsers look, the log is counted once in that time."""


def page(desk: Desk, visit: Visit) -> Response:
    """Return the overview."""
    return desk.page(visit, "overview.html", **_now(desk))


def now(desk: Desk, visit: Visit) -> Response:
    """Return the part of the overview that changes while one looks at it."""
    return desk.page(visit, "now.html", **_now(desk))


def learning(desk: Desk, visit: Visit) -> Response:
    """Return the learning curve."""
    with databases.ledger(desk.data) as ledger, ledger.reading() as db:
        return JSONResponse(charts.learning_curve(curves(db)))


def _now(desk: Desk) -> dict[str, Any]:
    with databases.ledger(desk.data) as ledger:
        state = {
            "serving": evolution.serving(desk.config, ledger),
            "trial": desk.kept("trial", lambda: evolution.trial(desk.config, ledger)),
            "running": evolution.running(desk.config, ledger),
            "not_due_because": evolution.not_due_because(desk.config, ledger),
            "waiting": evolution.waiting(desk.data, ledger),
        }
    return {**state, "traffic": desk.kept("traffic", lambda: _traffic(desk), seconds=_FRESH_SECONDS)}


def _traffic(desk: Desk) -> Traffic:
    with databases.log_rows(desk.data) as db:
        return traffic(db, time.time() - _DAY)
