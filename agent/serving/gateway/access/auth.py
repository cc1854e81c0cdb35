"""Access to the gateway: API keys, their scopes, and the rate of requests of each."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.config import GatewayConfig
from agent.serving.gateway.access import api_keys
from agent.serving.gateway.access.api_keys import SCOPES, Scope
from agent.serving.gateway.model_routing import CachedFile

LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")

_BEARER = "bearer "
_LENT = 1000
"""Lent keys that are good at a time; the oldest end first."""


def allowed_hosts(config: GatewayConfig) -> list[str]:
    """Return the values of ``Host`` that are answered, without ports; "*": any."""
    if config.host not in LOOPBACK and not config.allowed_hosts:
        return ["*"]
    own = f"[{config.host}]" if ":" in config.host else config.host
    return [own, *LOOPBACK, *config.allowed_hosts]


def is_open(config: GatewayConfig) -> bool:
    """Return whether people of this machine need no key."""
    return config.host in LOOPBACK and not config.require_key


@dataclass(frozen=True)
class Caller:
    """The sender of a request. ``name`` is that of the key, "" for people of this machine without one."""

    name: str = ""
    tenant: str = ""
    scopes: tuple[Scope, ...] = SCOPES
    limited: bool = False

    def may(self, scope: Scope) -> bool:
        """Return whether the key has ``scope``, or ``admin``, which has them all."""
        return scope in self.scopes or "admin" in self.scopes

    def may_ask(self, tenant: str) -> bool:
        """Return whether adapters of ``tenant`` ("": of everybody) answer this caller."""
        return tenant in ("", self.tenant) or self.may("admin")


@dataclass(frozen=True)
class Refused:
    """A refusal, as an HTTP status and a sentence. ``retry_seconds``: the time after which to ask again."""

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
        self.open = is_open(config)
        self._per_minute = config.requests_per_minute
        self._own = api_keys.sha256(own_key)
        self._clock = clock
        self._file = CachedFile()
        self._left: dict[str, tuple[float, float]] = {}
        self._lent: dict[str, str] = {}
        """By the hash of a lent key: the hash of the key that it stands for, "" for none."""

    def check(self, authorization: str, scope: Scope) -> Caller | Refused:
        """Return the caller that an ``Authorization`` header names, if it may do ``scope`` now. Raises StorageError."""
        caller = self.caller(authorization)
        if caller is None:
            return Refused(401, "an API key is needed, and this is none; make one with: agent keys create NAME")
        if not caller.may(scope):
            return Refused(403, f"the key {caller.name} may not do this: it lacks the scope {scope}")
        if caller.limited and (wait := self._wait(caller.name)) > 0:
            who = f"the key {caller.name} asks" if caller.name else "people without a key ask"
            return Refused(429, f"{who} more than {self._per_minute} times a minute", wait)
        return caller

    def caller(self, authorization: str) -> Caller | None:
        """Return the caller that an ``Authorization`` header names, whatever it may do; None for a key that is none, or
        where one is needed. Raises StorageError."""
        key = authorization[len(_BEARER) :].strip() if authorization[: len(_BEARER)].lower() == _BEARER else ""
        if key.startswith(api_keys.PREFIX):
            return self.holder(api_keys.sha256(key))
        # OpenAI clients insist on sending some key; on an open door it does not matter which.
        return self._nobody()

    def holder(self, sha256: str) -> Caller | None:
        """Return the caller whose key has this hash; None once it is revoked. Raises StorageError."""
        stands_for = self._lent.get(sha256, sha256)
        if stands_for == self._own:
            return Caller()
        return self._keys().get(stands_for) if stands_for else self._nobody()

    def lend(self, caller: Caller) -> str:
        """Return a key for requests in the name of ``caller``; it lives as long as that one's key, and in memory only.

        Raises StorageError.
        """
        nameless = "" if self.open else self._own
        known = {"": nameless, **{one.name: sha256 for sha256, one in self._keys().items()}}
        key = api_keys.new_key()
        self._lent[api_keys.sha256(key)] = known.get(caller.name, "-")
        while len(self._lent) > _LENT:
            del self._lent[next(iter(self._lent))]
        return key

    def _nobody(self) -> Caller | None:
        """The caller without a key, where the door is open."""
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
