"""The pages as one ASGI application, which the gateway shows below ``/ui`` (entry point ``apprentice.pages``)."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from agent.config import Config as AgentConfig
from agent.serving.gateway.access.auth import Access, Caller
from dashboard import databases
from dashboard.desk import Desk, Visit
from dashboard.door import Guarded, button, public, shown
from dashboard.pages import (
    adapters,
    chat,
    conversations,
    cycles,
    evals,
    live,
    login,
    overview,
    releases,
    settings,
    shadow,
    tools,
)
from dashboard.sessions import Sessions
from evolver.config import Config
from toolkit.config import first_problem
from toolkit.errors import UserError

_STATIC = Path(__file__).parent / "static"


def pages(config: AgentConfig, access: Access) -> ASGIApp:
    """Return the dashboard of a data folder. Raises UserError where the ``[evolver]`` tables hold a mistake, and
    StorageError."""
    desk = Desk(_whole(config), Sessions(access))
    databases.bring_up_to_date(desk.data)
    return Starlette(
        routes=[Mount("/static", StaticFiles(directory=_STATIC)), *_views(desk), *_buttons(desk)],
        middleware=[Middleware(Guarded)],
        exception_handlers={HTTPException: _no_page(desk), Exception: _no_page(desk)},
    )


def _views(desk: Desk) -> list[BaseRoute]:
    return [
        public(desk, "/login", login.form, "GET"),
        public(desk, "/login", login.sign_in, "POST"),
        public(desk, "/logout", login.sign_out, "POST"),
        shown(desk, "/", overview.page),
        shown(desk, "/now", overview.now),
        shown(desk, "/learning.json", overview.learning),
        shown(desk, "/cycles", cycles.page),
        shown(desk, "/cycles/{number}", cycles.one),
        shown(desk, "/cycles/{number}/flow.json", cycles.flow),
        shown(desk, "/cycles/{number}/loss.json", cycles.loss),
        shown(desk, "/cycles/{number}/traces", cycles.listed),
        shown(desk, "/cycles/{number}/traces/{place}", cycles.trace),
        shown(desk, "/adapters", adapters.page),
        shown(desk, "/adapters/compare", adapters.compare),
        shown(desk, "/conversations", conversations.page),
        shown(desk, "/conversations/{id}", conversations.thread),
        shown(desk, "/live", live.page),
        shown(desk, "/live/troubles.json", live.troubles),
        shown(desk, "/live/latency.json", live.latencies),
        shown(desk, "/chat", chat.page),
        shown(desk, "/settings", settings.page),
        shown(desk, "/tools", tools.page),
        shown(desk, "/shadow", shadow.page),
        shown(desk, "/evals", evals.page),
        shown(desk, "/releases", releases.page),
    ]


def _buttons(desk: Desk) -> list[BaseRoute]:
    return [
        button(desk, "/adapters/{name}/promote", adapters.promote),
        button(desk, "/adapters/{name}/approve", adapters.approve),
        button(desk, "/adapters/{name}/reject", adapters.reject),
        button(desk, "/adapters/{name}/try", adapters.begin_trial),
        button(desk, "/adapters/{name}/pin", adapters.pin),
        button(desk, "/adapters/{name}/unpin", adapters.unpin),
        button(desk, "/adapters/{name}/roll-back", adapters.roll_back),
        button(desk, "/conversations/{id}/feedback", conversations.feedback, "feedback"),
        button(desk, "/conversations/{id}/forget", conversations.forget),
        button(desk, "/chat/ask", chat.ask, "chat"),
        button(desk, "/settings/keys", settings.create_key),
        button(desk, "/settings/keys/{name}/revoke", settings.revoke_key),
        button(desk, "/settings/pause", settings.pause),
        button(desk, "/settings/resume", settings.resume),
        button(desk, "/settings/doctor", settings.doctor),
        button(desk, "/settings/backup", settings.backup),
        button(desk, "/tools/call", tools.call),
        button(desk, "/tools/{name}/approve", tools.approve),
        button(desk, "/tools/{name}/reject", tools.reject),
        button(desk, "/shadow/switch", shadow.switch),
        button(desk, "/shadow/switch-back", shadow.switch_back),
        button(desk, "/evals/run", evals.run),
        button(desk, "/releases/roll-back", releases.roll_back),
    ]


def _whole(config: AgentConfig) -> Config:
    """Return ``config`` with the tables that only the evolver checks."""
    values = {"data_folder": config.data_folder, "toolkit": config.toolkit, "agent": config.agent}
    try:
        return Config.model_validate({**values, "evolver": config.evolver})
    except ValidationError as error:
        raise UserError(f"config.toml: {first_problem(error, Config)}") from error


def _no_page(desk: Desk) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def failed(request: Request, error: Exception) -> Response:
        visit = Visit(request, Caller(scopes=()))
        if isinstance(error, HTTPException):
            return desk.failure(visit, error.status_code, f"there is no page {request.url.path[:200]} here")
        return desk.failure(visit, 500, "the dashboard failed; the reason is in the log of: agent serve")

    return failed
