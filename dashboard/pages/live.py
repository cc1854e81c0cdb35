"""``/live``: is anything wrong now?"""

import time
from typing import Any

import httpx
from starlette.responses import JSONResponse, Response

from agent.http.address import http_client
from agent.serving import serving_state
from dashboard import charts, databases
from dashboard.desk import Desk, Visit
from dashboard.figures import live

_DAY = 86400.0
_FRESH_SECONDS = 4.0


def page(desk: Desk, visit: Visit) -> Response:
    """Return the hours of the last day, and what the servers say of themselves."""
    rows = _hours(desk)
    return desk.page(visit, "live.html", rows=rows[::-1], health=_health(desk))


def troubles(desk: Desk, _: Visit) -> Response:
    """Return the share of troubled turns by hour, a line for each adapter."""
    rows = _hours(desk)
    labels = sorted({row.at for row in rows})
    shares = {(row.adapter, row.at): round(100 * row.troubled_share, 1) for row in rows}
    lines = {name: [shares.get((name, at)) for at in labels] for name in sorted({row.adapter for row in rows})}
    return JSONResponse(charts.lines([_clock(at) for at in labels], lines, "%"))


def latencies(desk: Desk, _: Visit) -> Response:
    """Return median and 95th percentile of the latencies by hour."""
    with databases.log_rows(desk.data) as db:
        rows = live.latencies(db, time.time() - _DAY)
    lines = {"median": [row.median_ms for row in rows], "95 %": [row.slow_ms for row in rows]}
    return JSONResponse(charts.lines([_clock(row.at) for row in rows], lines if rows else {}, "ms"))


def _hours(desk: Desk) -> list[live.Hour]:
    def read() -> list[live.Hour]:
        with databases.log_rows(desk.data) as db:
            return live.hours(db, time.time() - _DAY)

    return desk.kept("hours", read, seconds=_FRESH_SECONDS)


def _clock(at: float) -> str:
    return time.strftime("%d. %H:%M", time.localtime(at))


def _health(desk: Desk) -> dict[str, Any]:
    """Return the gateway's report on its servers; "problem" without one."""
    running = serving_state.read(desk.data)
    if running is None:
        return {"status": "unavailable", "problem": "the model server is starting"}
    try:
        with http_client(running.gateway_url, timeout=5.0) as client:
            return client.get("/health").json()
    except (httpx.HTTPError, ValueError) as error:
        return {"status": "unavailable", "problem": f"the gateway gives no answer ({type(error).__name__})"}
