"""One vLLM server, and asking it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from multidict import CIMultiDictProxy

_CONNECT_SECONDS = 5.0
_KEEPALIVE_SECONDS = 4.0
"""A vLLM that is not ours closes idle connections after 5."""
_LARGEST_LINE = 1 << 20

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)

LOST = (aiohttp.ClientError, ConnectionError, TimeoutError)
"""What is raised when a server cannot be reached, or goes away while answering."""
UNREACHABLE = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


@dataclass(frozen=True)
class Upstream:
    """Where a vLLM listens, the key that it asks for, its process (0: not one of this machine's).

    ``adapters_folder``: the adapters' folder as that server sees it; None: as it is here.
    """

    url: str
    key: str
    pid: int = 0
    adapters_folder: Path | None = None

    def folder_of(self, folder: Path) -> Path:
        """Where this server finds the adapter's ``folder``."""
        return folder if self.adapters_folder is None else self.adapters_folder / folder.name


class Connections:
    """Sends requests to any upstream. Use it in an ``async with``, in the loop that sends."""

    async def __aenter__(self) -> "Connections":
        self._kept = _session(aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_SECONDS))
        self._fresh = _session(aiohttp.TCPConnector(limit=0, force_close=True))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._kept.close()
        await self._fresh.close()

    async def send(
        self,
        upstream: Upstream,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        seconds: float | None = None,
        fresh: bool = False,
    ) -> "Answer":
        """The head of the answer has arrived when it returns. Raises one of LOST.

        ``seconds``: for all of it. ``fresh``: over a connection of its own. A server may close one that was kept at
        the very moment when it is used again (RFC 9112, 9.3.1).
        """
        headers = {
            "authorization": f"Bearer {upstream.key}",
            "content-type": "application/json",
            "accept-encoding": "identity",
        }
        limit = _TIMEOUT if seconds is None else aiohttp.ClientTimeout(total=seconds)
        session = self._fresh if fresh else self._kept
        response = await session.request(
            method, upstream.url + path, data=body, headers=headers, allow_redirects=False, timeout=limit
        )
        return Answer(response)


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
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
        """The whole body. Raises one of LOST."""
        return await self._response.read()

    def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises one of LOST."""
        return self._response.content.iter_any()

    def close(self) -> None:
        """Stop listening, which also makes vLLM stop generating. May be called again, also after the end."""
        self._response.close()
