"""The door of every page: who may come in, from which origin, and with which headers the answer leaves."""

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.http import json_body
from agent.http.http_error import HttpError
from agent.serving.gateway.access.api_keys import Scope as KeyScope
from agent.serving.gateway.access.auth import Caller
from agent.serving.gateway.access.origins import is_same_origin
from dashboard.desk import Desk, Handler, Visit
from toolkit.errors import SandboxUnavailable, UserError

_FORM_LIMIT = 1 << 20
_HEADERS = {
    # Pico's marks in form fields are images in its own style sheet.
    "content-security-policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'self'; object-src 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-cache",
}


def shown(desk: Desk, path: str, handler: Handler) -> Route:
    """Return the route of a page, for those who may read."""
    return Route(path, _endpoint(desk, handler, "read"), methods=["GET"])


def button(desk: Desk, path: str, handler: Handler, scope: KeyScope = "admin") -> Route:
    """Return the route of a button, for those who may what it does."""
    return Route(path, _endpoint(desk, handler, scope), methods=["POST"])


def public(desk: Desk, path: str, handler: Handler, method: str) -> Route:
    """Return a route for everybody, signed in or not."""
    return Route(path, _endpoint(desk, handler, None), methods=[method])


def _endpoint(desk: Desk, handler: Handler, scope: KeyScope | None) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        """Read the form here; all else runs in a thread."""
        content = await json_body.read(request, _FORM_LIMIT) if request.method == "POST" else b""
        return await run_in_threadpool(_answer, desk, handler, scope, request, content)

    return endpoint


def _answer(desk: Desk, handler: Handler, scope: KeyScope | None, request: Request, content: bytes) -> Response:
    visit = Visit(request, Caller(scopes=()))
    try:
        caller = desk.sessions.caller(request.headers)
        if scope is not None and caller is None:
            return _sign_in_first(desk, visit)
        visit = Visit(request, caller or visit.caller, dict(parse_qsl(content.decode("utf-8", "replace"))))
        _check(visit, scope)
        return handler(desk, visit)
    except HttpError as error:
        return desk.failure(visit, error.status, error.message)
    except (UserError, SandboxUnavailable) as error:
        return desk.failure(visit, 409 if request.method == "POST" else 503, str(error))


def _check(visit: Visit, scope: KeyScope | None) -> None:
    """Raise HttpError where the visitor may not do this, or a page of another origin sent it."""
    if visit.request.method == "POST" and not is_same_origin(visit.request.headers):
        raise HttpError(403, "buttons work on the dashboard's own pages only")
    if scope is not None and not visit.caller.may(scope):
        raise HttpError(403, f"the key {visit.caller.name} may not do this: it lacks the scope {scope}")


def _sign_in_first(desk: Desk, visit: Visit) -> Response:
    if visit.request.method == "GET" and not visit.request.url.path.endswith(".json"):
        return RedirectResponse(f"{visit.base}/login", 303)
    return desk.failure(visit, 401, "an API key is needed; sign in first")


class Guarded:
    """ASGI middleware: gives every answer the headers that keep foreign scripts and frames out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                added = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message["headers"], *(one for one in added if one[0] not in given)]
            await send(message)

        await self._app(scope, receive, guarded)
