"""``/shadow``: could it answer in place of the other server?"""

from starlette.responses import RedirectResponse, Response

from agent.http.http_error import HttpError
from dashboard.desk import Desk, Visit, see
from evolver.release import agreement

_LONGEST_NAME = 200


def page(desk: Desk, visit: Visit) -> Response:
    """Return the agreement about each tool, the threshold, and who answers its calls."""
    rows = agreement.agreements(desk.config)
    settings, active = desk.config.agent.serving.shadow, {row.tool for row in rows if row.active}
    return desk.page(
        visit,
        "shadow.html",
        settings=settings,
        rows=[row for row in rows if row.active],
        uncompared=[tool for tool in agreement.switched(desk.config) if tool not in active],
        earlier=[row for row in rows if not row.active],
    )


def switch(desk: Desk, visit: Visit) -> RedirectResponse:
    """Let apprentice answer the calls of a tool, as ``evolver shadow switch`` does."""
    agreement.switch(desk.config, _tool(visit))
    return see(visit, "shadow")


def switch_back(desk: Desk, visit: Visit) -> RedirectResponse:
    """Let the other server answer the calls of a tool again."""
    agreement.switch_back(desk.config, _tool(visit))
    return see(visit, "shadow")


def _tool(visit: Visit) -> str:
    """Return the tool of the form. Its name is no part of a path: a client may have given it any characters."""
    name = visit.form.get("tool", "")
    if not name.strip() or len(name) > _LONGEST_NAME:
        raise HttpError(400, "name a tool")
    return name
