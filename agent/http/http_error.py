"""Errors as OpenAI's clients read them, for every HTTP server of this project."""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class HttpError(Exception):
    """A request that is refused. ``param`` is the field at fault, as a path (``messages[0].content``); "" for none."""

    def __init__(self, status: int, message: str, *, param: str = "", retry_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.retry_seconds = retry_seconds

    def response(self, body: dict[str, Any] | None = None) -> JSONResponse:
        """Return the response that tells the client; with this ``body`` in place of OpenAI's form."""
        headers = {"retry-after": str(int(self.retry_seconds) + 1)} if self.retry_seconds else None
        return JSONResponse(body or error_body(self.status, self.message, self.param), self.status, headers)


def error_body(status: int, message: str, param: str = "") -> dict[str, Any]:
    """Return an error in OpenAI's form; ``code`` is the HTTP status, as vLLM has it."""
    kind = _TYPES.get(status) or ("invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param or None, "code": status}}


async def refused(_: Request, error: Exception) -> Response:
    """Answer a request whose handler raised HttpError."""
    assert isinstance(error, HttpError)
    return error.response()


async def no_route(request: Request, error: Exception) -> Response:
    """Answer a request that no route takes, naming what there is."""
    assert isinstance(error, HTTPException)
    asked = f"{request.method} {request.url.path[:200]}"
    message = f"there is no {asked} here; there is: {_routes(request)}" if error.status_code == 404 else error.detail
    if error.status_code == 405:
        allowed = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
        message = f"there is no {asked} here; {request.url.path[:200]} takes: {allowed}"
    return JSONResponse(error_body(error.status_code, message), error.status_code, error.headers)


async def failed(_: Request, __: Exception) -> Response:
    """Answer a request that met a bug; the traceback goes to the server's log."""
    message = "the gateway failed; the reason is in the log of: agent serve"
    return JSONResponse(error_body(500, message), 500)


HANDLERS: Any = {HttpError: refused, HTTPException: no_route, Exception: failed}
"""For Starlette's ``exception_handlers``."""


def _routes(request: Request) -> str:
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    methods = {route.path: sorted((route.methods or set()) - {"HEAD"}) for route in routes}
    return ", ".join(f"{method} {path}" for path, several in methods.items() for method in several)
