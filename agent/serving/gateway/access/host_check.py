"""Answers requests to the gateway's own names only.

A page in a browser must not get in through a name that it controls (DNS rebinding).
"""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.http.http_error import HttpError

_SHOWN = 100


class HostCheck:
    """ASGI middleware. ``allowed``: names without ports, ``*.example.com`` for all below one, ``*`` for any."""

    def __init__(self, app: ASGIApp, allowed: Sequence[str]) -> None:
        self._app = app
        self._names = frozenset(name.lower() for name in allowed if not name.startswith("*"))
        self._endings = tuple(name[1:].lower() for name in allowed if name.startswith("*."))
        self._any = "*" in allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._any or scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        host = hostname(Headers(scope=scope).get("host", ""))
        if host in self._names or (host and host.endswith(self._endings)):
            await self._app(scope, receive, send)
            return
        message = (
            f"this gateway is not asked by the name {host[:_SHOWN]!r}; it answers to {', '.join(sorted(self._names))}, "
            "and to the allowed_hosts of [agent.serving.gateway] in config.toml"
        )
        await HttpError(400, message).response()(scope, receive, send)


def hostname(header: str) -> str:
    """Return the name in a Host header, in lower case, without its port."""
    host = header.strip().lower()
    return host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]
