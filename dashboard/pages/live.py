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
_SECOND_MS = 1000.0


def page(desk: Desk, visit: Visit) -> Response:
    """Return the hours of the last day, and what the servers say of themselves."""
    rows = _hours(desk)
    return desk.page(visit, "live.html", rows=rows[::-1], health=_health(desk), servers=_servers(desk))


def troubles(desk: Desk, _: Visit) -> Response:
    """Return the share of troubled turns by hour, a line for each adapter."""
    rows = _hours(desk)
    labels = sorted({row.at for row in rows})
    shares = {(row.adapter, row.at): round(100 * row.troubled_share, 1) for row in rows}
    lines = {name: [shares.get((name, at)) for at in labels] for name in sorted({row.adapter for row in rows})}
    return JSONResponse(charts.lines([_clock(at) for at in labels], lines, "% of the turns", "hour"))


def latencies(desk: Desk, _: Visit) -> Response:
    """Return median and 95th percentile of the latencies by hour, in seconds where one is a second or more."""
    with databases.log_rows(desk.data) as db:
        rows = live.latencies(db, time.time() - _DAY)
    in_seconds = any(row.slow_ms >= _SECOND_MS for row in rows)
    unit, size = ("seconds", _SECOND_MS) if in_seconds else ("ms", 1.0)
    values = {"median": [row.median_ms for row in rows], "95 %": [row.slow_ms for row in rows]}
    lines = {name: [round(value / size, 3) for value in row] for name, row in values.items()}
    return JSONResponse(charts.lines([_clock(row.at) for row in rows], lines if rows else {}, unit, "hour"))


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


def _servers(desk: Desk) -> list[live.Server]:
    """Return the servers that the gateway has; [] where it gives no answer."""
    running = serving_state.read(desk.data)
    if running is None:
        return []
    headers = {"authorization": f"Bearer {running.gateway_key}"} if running.gateway_key else None
    try:
        with http_client(running.gateway_url, headers=headers, timeout=5.0) as client:
            return live.servers(client.get("/servers").json(), live.model_of(desk.config))
    except (httpx.HTTPError, ValueError):
        return []
