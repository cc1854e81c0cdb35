"""Sessions of people who signed in: a cookie with a random id, whose hash is kept in memory with that of the API key
behind it."""

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from agent.serving.gateway.access import api_keys
from agent.serving.gateway.access.auth import Access, Caller

COOKIE = "apprentice_session"
SECONDS = 12 * 3600
_MOST = 1000
"""Sessions kept; the oldest end first."""


@dataclass(frozen=True)
class _Session:
    key_sha256: str
    ends_at: float


class Sessions:
    """The sessions of one gateway. They end after 12 hours, with their API key, and with the gateway."""

    def __init__(self, access: Access, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._access = access
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[str, _Session] = {}

    def sign_in(self, key: str) -> str | None:
        """Return the id for the cookie of who has this API key; None where it is none. Raises StorageError."""
        hashed = api_keys.sha256(key.strip())
        if self._access.holder(hashed) is None:
            return None
        identity, now = secrets.token_urlsafe(32), self._clock()
        with self._lock:
            self._open = {name: session for name, session in self._open.items() if session.ends_at > now}
            while len(self._open) >= _MOST:
                del self._open[next(iter(self._open))]
            self._open[api_keys.sha256(identity)] = _Session(hashed, now + SECONDS)
        return identity

    def sign_out(self, headers: Headers) -> None:
        """End the session that a request names."""
        with self._lock:
            self._open.pop(api_keys.sha256(_identity(headers)), None)

    def caller(self, headers: Headers) -> Caller | None:
        """Return the caller of a request: by its cookie, else by its ``Authorization``, else the one that the gateway
        admits without a key; None for nobody. Raises StorageError."""
        identity = _identity(headers)
        if identity and (session := self._open.get(api_keys.sha256(identity))) and session.ends_at > self._clock():
            return self._access.holder(session.key_sha256)
        return self._access.caller(headers.get("authorization", ""))

    def lent(self, caller: Caller) -> str:
        """Return a key with which the gateway is asked in the name of a visitor. Raises StorageError."""
        return self._access.lend(caller)


def _identity(headers: Headers) -> str:
    return cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
