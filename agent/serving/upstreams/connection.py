"""One vLLM server, and asking it."""

import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from multidict import CIMultiDictProxy

from agent.http.address import http_url, socket_path

_CONNECT_SECONDS = 5.0
_KEEPALIVE_SECONDS = 4.0
"""A vLLM that is not ours closes idle connections after 5."""
_LARGEST_LINE = 1 << 20

_KEEP_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""A machine that went away without a word is noticed after 25 seconds, while a server may think for as long as it
likes."""

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)

LOST = (aiohttp.ClientError, ConnectionError, TimeoutError)
"""Raised when a server cannot be reached, or goes away while answering."""
UNREACHABLE = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


@dataclass(frozen=True)
class Upstream:
    """A vLLM: its address (``agent.http.address``), its key, its process (0: not one of this machine's).

    ``adapters_folder``: the adapters' folder as that server sees it; None: as it is here. ``deliver`` brings an
    adapter's folder to the server's machine, checks it there and returns its path; None: the server sees it already.
    """

    url: str
    key: str
    pid: int = 0
    adapters_folder: Path | None = None
    deliver: Callable[[Path], Path] | None = field(default=None, compare=False)

    def folder_of(self, folder: Path) -> Path:
        """Return the path of the adapter's ``folder`` as this server sees it, delivered if need be. Raises
        AdapterError, ModelUnavailable."""
        if self.deliver is not None:
            return self.deliver(folder)
        return folder if self.adapters_folder is None else self.adapters_folder / folder.name


class Connections:
    """Sends requests to any upstream. Use it in an ``async with``, in the loop that sends."""

    async def __aenter__(self) -> "Connections":
        self._sessions: dict[tuple[str | None, bool], aiohttp.ClientSession] = {}
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in self._sessions.values():
            await session.close()

    async def send(
        self,
        upstream: Upstream,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        seconds: float | None = None,
        fresh: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> "Answer":
        """Send a request; return its answer when the head of it has arrived. Raises one of LOST.

        ``seconds``: for all of it. ``fresh``: over a connection of its own. A server may close one that was kept at
        the very moment when it is used again (RFC 9112, 9.3.1). ``headers``: further ones.
        """
        sent = {
            **(headers or {}),
            "authorization": f"Bearer {upstream.key}",
            "content-type": "application/json",
            "accept-encoding": "identity",
        }
        limit = _TIMEOUT if seconds is None else aiohttp.ClientTimeout(total=seconds)
        session = self._session(socket_path(upstream.url), fresh=fresh)
        url = http_url(upstream.url) + path
        response = await session.request(method, url, data=body, headers=sent, allow_redirects=False, timeout=limit)
        return Answer(response)

    def _session(self, path: str | None, *, fresh: bool) -> aiohttp.ClientSession:
        """Return the session for the Unix socket at ``path``, or that of all HTTP addresses."""
        found = self._sessions.get((path, fresh))
        if found is None:
            found = self._sessions[path, fresh] = _session(_connector(path, fresh=fresh))
        return found


def _connector(path: str | None, *, fresh: bool) -> aiohttp.BaseConnector:
    kept: dict[str, Any] = {"force_close": True} if fresh else {"keepalive_timeout": _KEEPALIVE_SECONDS}
    if path is not None:
        return aiohttp.UnixConnector(path, limit=0, **kept)
    return aiohttp.TCPConnector(limit=0, socket_factory=_tcp_socket, **kept)


def _tcp_socket(found: tuple[int, int, int, str, Any]) -> socket.socket:
    """Return a socket whose other end is asked for a sign of life while nothing comes."""
    family, kind, protocol, *_ = found
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE.items():
        made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made


def _session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        max_line_size=_LARGEST_LINE,
        max_field_size=_LARGEST_LINE,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )


class Answer:
    """An answer under way. Ends with ``read``, at the end of ``pieces``, or with ``close``."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        return self._response.headers

    async def read(self) -> bytes:
        """Return the whole body. Raises one of LOST."""
        return await self._response.read()

    def pieces(self) -> AsyncIterator[bytes]:
        """Return the body as it comes. Raises one of LOST."""
        return self._response.content.iter_any()

    def close(self) -> None:
        """Stop listening, which also makes vLLM stop generating. May be called again, also after the end."""
        self._response.close()
