"""The vLLM server behind the gateway, and the connections to it."""

import json
from dataclasses import dataclass
from typing import Any

import httpx

_TIMEOUTS = {"connect": 5.0, "read": None, "write": None, "pool": None}
_KEEPALIVE_SECONDS = 4.0
"""vLLM closes idle connections after 5."""


@dataclass(frozen=True)
class Upstream:
    """Where vLLM listens, the key that it asks for, its process."""

    url: str
    key: str
    pid: int

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Request:
        headers = {
            "authorization": f"Bearer {self.key}",
            "content-type": "application/json",
            "accept-encoding": "identity",
        }
        content = None if body is None else json.dumps(body).encode()
        extensions = {"timeout": _TIMEOUTS}
        return httpx.Request(method, self.url + path, headers=headers, content=content, extensions=extensions)


class Connections:
    """Sends requests, each over a connection that no other request uses meanwhile; the last used one is taken first.

    A pool of httpx looks at each of its connections for every request: with 32 in flight that took longer than all the
    rest that the gateway does.
    """

    def __init__(self) -> None:
        self._idle: list[httpx.AsyncHTTPTransport] = []

    async def send(self, request: httpx.Request) -> "Answer":
        """The head of the answer has arrived when it returns. Raises httpx.TransportError."""
        if self._idle:
            transport = self._idle.pop()
        else:
            limits = httpx.Limits(max_connections=1, keepalive_expiry=_KEEPALIVE_SECONDS)
            transport = httpx.AsyncHTTPTransport(verify=False, limits=limits)  # plain HTTP on this machine
        response = await transport.handle_async_request(request)
        response.request = request
        return Answer(response, transport, self._idle)

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().aclose()


class Answer:
    """An answer and its connection. Ends with ``read`` or ``close``."""

    def __init__(
        self, response: httpx.Response, transport: httpx.AsyncHTTPTransport, idle: list[httpx.AsyncHTTPTransport]
    ) -> None:
        self.response = response
        self._transport = transport
        self._idle = idle
        self._open = True

    async def read(self) -> None:
        """Get the whole body, in ``response.content``. Raises httpx.TransportError."""
        try:
            await self.response.aread()
        finally:
            await self.close()

    async def close(self) -> None:
        """Stop listening, which also makes vLLM stop generating. May be called again."""
        if self._open:
            self._open = False
            await self.response.aclose()
            self._idle.append(self._transport)
