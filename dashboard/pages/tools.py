"""``/tools``: what can it use?"""

import json
import time

from starlette.responses import RedirectResponse, Response

from agent.http.http_error import HttpError
from agent.log.entries import first_id
from dashboard import databases
from dashboard.desk import Desk, Visit, see
from dashboard.figures import tools as figures
from dashboard.figures import traces
from evolver.store.cycle_folder import cycle_folders
from evolver.store.seen_tools import ToolCatalogue
from evolver.tool_making.pool import ToolPool
from evolver.types import TraceVerdict
from toolkit.argument_check import no_tool
from toolkit.errors import UserError
from toolkit.execute import open_executor
from toolkit.registry import ToolRegistry
from toolkit.sources import load_local_tools
from toolkit.tool import ToolCall, ToolResult

_DAYS = 30
_TOOLS_SECONDS = 600.0
"""Modules of a person's own are described in the sandbox, which takes a while."""


def page(desk: Desk, visit: Visit) -> Response:
    """Return the tools by source with their figures, those that the model made, and those of clients."""
    return _page(desk, visit)


def approve(desk: Desk, visit: Visit) -> RedirectResponse:
    """Make a waiting tool one of the agent's."""
    with databases.writable_ledger(desk.data) as ledger:
        ToolPool(desk.data, ledger).approve(visit.part("name"))
    return see(visit, f"tools#{visit.part('name')}")


def reject(desk: Desk, visit: Visit) -> RedirectResponse:
    """Take a tool from the agent and from lessons to come."""
    with databases.writable_ledger(desk.data) as ledger:
        ToolPool(desk.data, ledger).reject(visit.part("name"))
    return see(visit, "tools")


def call(desk: Desk, visit: Visit) -> Response:
    """Run one call in the sandbox, as ``toolkit call`` does, and show its result."""
    name, text = visit.form.get("name", ""), visit.form.get("arguments", "") or "{}"
    try:
        arguments = json.loads(text)
    except ValueError as error:
        raise UserError(f'the arguments are no JSON: {error}; write an object such as {{"value": 3}}') from error
    if not isinstance(arguments, dict):
        raise HttpError(400, 'the arguments must be a JSON object; write for example {"value": 3}')
    with open_executor(desk.config.toolkit) as executor:
        if executor.registry.get(name) is None:
            raise HttpError(404, no_tool(name, executor.registry.names(), otherwise="the table names them all"))
        result = executor.execute(ToolCall(id="dashboard", name=name, arguments=arguments))
    return _page(desk, visit, called=name, arguments=text, result=result)


def _page(
    desk: Desk, visit: Visit, *, called: str = "", arguments: str = "", result: ToolResult | None = None
) -> Response:
    registry = desk.kept("tools", lambda: load_local_tools(desk.config.toolkit), seconds=_TOOLS_SECONDS)
    with databases.ledger(desk.data) as ledger:
        made = ToolPool(desk.data, ledger).tools()
        seen = ToolCatalogue(ledger).tools()
    return desk.page(
        visit,
        "tools.html",
        rows=desk.kept("tool figures", lambda: _figures(desk, registry)),
        days=_DAYS,
        seen=seen,
        made=sorted(made, key=lambda tool: (tool.state != "waiting", tool.name)),
        names=registry.names(),
        called=called,
        arguments=arguments,
        result=result,
    )


def _figures(desk: Desk, registry: ToolRegistry) -> list[figures.Used]:
    with databases.log_rows(desk.data) as db:
        made, failed = figures.calls(db, first_id(time.time() - _DAYS * 86400))
    folder = next(reversed(cycle_folders(desk.data)), None)
    newest: list[TraceVerdict] = traces.verdicts(folder) if folder else []
    return figures.used(registry, made, failed, figures.lessons(newest))
