"""Who may ask the gateway for what: API keys, their scopes, and how often each may ask."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.config import GatewayConfig
from agent.serving import api_keys
from agent.serving.api_keys import SCOPES, Scope
from agent.serving.served import CachedFile

LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")

_BEARER = "bearer "


def allowed_hosts(config: GatewayConfig) -> list[str]:
    """The values of ``Host`` that are answered, without ports; "*": any."""
    if config.host not in LOOPBACK and not config.allowed_hosts:
        return ["*"]
    own = f"[{config.host}]" if ":" in config.host else config.host
    return [own, *LOOPBACK, *config.allowed_hosts]


@dataclass(frozen=True)
class Caller:
    """Who asks. ``name`` is that of the key, "" for people of this machine without one."""

    name: str = ""
    tenant: str = ""
    scopes: tuple[Scope, ...] = SCOPES
    limited: bool = False


@dataclass(frozen=True)
class Refused:
    """Why not, as an HTTP status and a sentence. ``retry_seconds``: when to ask again."""

    status: int
    message: str
    retry_seconds: float = 0.0


class Access:
    """``own_key`` is what apprentice's own commands send; it may do everything, as often as it likes.

    ``open``: people of this machine need no key.
    """

    def __init__(
        self, data_folder: Path, config: GatewayConfig, own_key: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._data_folder = data_folder
        self.open = config.host in LOOPBACK and not config.require_key
        self._per_minute = config.requests_per_minute
        self._own = api_keys.sha256(own_key)
        self._clock = clock
        self._file = CachedFile()
        self._left: dict[str, tuple[float, float]] = {}

    def check(self, authorization: str, scope: Scope) -> Caller | Refused:
        """The caller that this ``Authorization`` header names, if it may do ``scope`` now. Raises StorageError."""
        caller = self._caller(authorization)
        if caller is None:
            return Refused(401, "an API key is needed, and this is none; make one with: agent keys create NAME")
        if scope not in caller.scopes and "admin" not in caller.scopes:
            return Refused(403, f"the key {caller.name} may not do this: it lacks the scope {scope}")
        if caller.limited and (wait := self._wait(caller.name)) > 0:
            who = f"the key {caller.name} asks" if caller.name else "people without a key ask"
            return Refused(429, f"{who} more than {self._per_minute} times a minute", wait)
        return caller

    def _caller(self, authorization: str) -> Caller | None:
        key = authorization[len(_BEARER) :].strip() if authorization[: len(_BEARER)].lower() == _BEARER else ""
        if key.startswith(api_keys.PREFIX):
            hashed = api_keys.sha256(key)
            return Caller() if hashed == self._own else self._keys().get(hashed)
        # OpenAI clients insist on sending some key; on an open door it does not matter which.
        return Caller(limited=self._per_minute > 0) if self.open else None

    def _keys(self) -> dict[str, Caller]:
        def load() -> dict[str, Caller]:
            return {
                key.sha256: Caller(key.name, key.tenant, key.scopes, limited=self._per_minute > 0)
                for key in api_keys.read(self._data_folder)
                if key.revoked_at is None
            }

        return self._file.get(api_keys.path(self._data_folder), load)

    def _wait(self, name: str) -> float:
        """Take one of the requests that ``name`` has left; else the seconds until there is one."""
        now = self._clock()
        left, since = self._left.get(name, (float(self._per_minute), now))
        left = min(float(self._per_minute), left + (now - since) * self._per_minute / 60)
        taken = left >= 1
        self._left[name] = (left - 1 if taken else left, now)
        return 0.0 if taken else (1 - left) * 60 / self._per_minute
