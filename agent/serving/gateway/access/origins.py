"""Keeps web pages of other origins out: without this, every page that a browser shows can post to loopback."""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.config import GatewayConfig
from agent.http.http_error import HttpError
from agent.turn.model_client import ADAPTER_HEADER, ADAPTER_SHA256_HEADER

_SAFE = ("GET", "HEAD", "OPTIONS")
_FOREIGN_SITES = ("cross-site", "same-site")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_SETTING = "allowed_origins in [agent.serving.gateway] of config.toml"
_FORM = "application/x-www-form-urlencoded"
_PREFLIGHT = "pages may GET and POST"
_NOT_JSON = "the body must be JSON, with the header: content-type: application/json"


def browser_guard(config: GatewayConfig, forms_below: Collection[str] = ()) -> list[Middleware]:
    """Return the middleware that answers 403 to pages of other origins than the gateway's own and ``allowed_origins``.

    Pages of ``allowed_origins`` get the CORS headers and preflight answers that browsers ask for. ``forms_below``: the
    paths of pages that send forms.
    """
    guard = [Middleware(OriginGuard, allowed_origins=config.allowed_origins, forms_below=forms_below)]
    if not config.allowed_origins:
        return guard
    cors = Middleware(
        _Cors,
        allow_origins=config.allowed_origins,
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        allow_private_network=True,
        expose_headers=[ADAPTER_HEADER, ADAPTER_SHA256_HEADER, "retry-after"],
    )
    return [*guard, cors]


class _Cors(CORSMiddleware):
    """Refuses a preflight with an error in the form of all others."""

    def preflight_response(self, request_headers: Headers) -> Response:
        answer = super().preflight_response(request_headers)
        if answer.status_code < 400:
            return answer
        refusal = HttpError(answer.status_code, f"{bytes(answer.body).decode()}; {_PREFLIGHT}").response()
        refusal.headers.update({name: value for name, value in answer.headers.items() if name not in refusal.headers})
        return refusal


class OriginGuard:
    """ASGI middleware. Refuses with 403 what a browser sends for a page of a foreign origin, and with 415 a body whose
    type is not JSON, which a browser sends without a preflight.

    Browsers set ``Origin`` and ``Sec-Fetch-Site``; a page cannot change them. Programs send neither. The ``Host`` that
    an origin is compared with must have been checked before (DNS rebinding). Below the paths ``forms_below``, a form
    with an ``Origin`` is let through too: these pages ask for the origin themselves (``is_same_origin``).
    """

    def __init__(self, app: ASGIApp, allowed_origins: tuple[str, ...] = (), forms_below: Collection[str] = ()) -> None:
        self._app = app
        self._forms_below = tuple(f"{path}/" for path in forms_below)
        self._allowed = frozenset(allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers, method = Headers(scope=scope), scope.get("method", "GET")
        refused: ASGIApp = self._app
        if foreign := self._foreign(headers, method):
            refused = HttpError(
                403, f"requests of {foreign} are refused; to allow a page, name its origin in {_SETTING}"
            ).response()
        elif method not in _SAFE and _has_body(headers) and not self._is_admitted(scope, headers):
            refused = HttpError(415, _NOT_JSON).response()
        await refused(scope, receive, send)

    def _is_admitted(self, scope: Scope, headers: Headers) -> bool:
        """Return whether the type of a body is one that no foreign page sends unasked."""
        media_type = headers.get("content-type", "")
        if media_type.startswith(_FORM) and "origin" in headers:
            return scope["path"].startswith(self._forms_below)
        return _is_json(media_type)

    def _foreign(self, headers: Headers, method: str) -> str:
        """The foreign page that sent this, in words; "" where none did."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin in self._allowed:
            return ""
        if origin is not None and not _is_own(origin, headers.get("host", "")):
            return f"the web page {origin!r}"
        # Following a link from elsewhere to a page of the gateway's shows nothing to the page that holds the link.
        followed = method in _SAFE and headers.get("sec-fetch-mode") == "navigate"
        return "web pages of other origins" if site in _FOREIGN_SITES and not followed else ""


def is_same_origin(headers: Headers) -> bool:
    """Return whether a browser sent this for a page of the gateway's own: it says so, or the origin is the host's."""
    if headers.get("sec-fetch-site") == "same-origin":
        return True
    origin = headers.get("origin")
    return origin is not None and _is_own(origin, headers.get("host", ""))


def _is_own(origin: str, host: str) -> bool:
    """Return whether a page of ``origin`` came from ``host``, the name and port that the request was sent to."""
    try:
        split = urlsplit(origin)
        own = urlsplit(f"{split.scheme}://{host}")
        port = _DEFAULT_PORTS[split.scheme]
        return bool(host) and (split.hostname, split.port or port) == (own.hostname, own.port or port)
    except (ValueError, KeyError):
        return False


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))
