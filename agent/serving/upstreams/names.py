"""Servers behind a name with several addresses, as a headless service of Kubernetes has one for each of its pods."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from agent.http.address import at_each_address
from agent.serving.upstreams.connection import Upstream
from agent.serving.upstreams.pool import UpstreamPool

_LOOK_SECONDS = 5.0


@dataclass(frozen=True)
class Named:
    """An upstream as config.toml names it. ``each_address``: there is a server at each address of its name."""

    upstream: Upstream
    each_address: bool


class NamedUpstreams:
    """Keeps the servers of ``pool`` those that ``named`` stands for, while their addresses come and go."""

    def __init__(self, named: Sequence[Named], pool: UpstreamPool, say: Callable[[str], None]) -> None:
        self._named, self._pool, self._say = named, pool, say
        self._known: dict[Named, tuple[Upstream, ...]] = {}
        self._troubles: dict[Named, str] = {}

    def find(self) -> list[Upstream]:
        """Return the servers. Those of a name that cannot be looked up are the ones that it had; before it had any, the
        name itself, which gets no requests."""
        return [upstream for named in self._named for upstream in self._servers(named)]

    async def watch(self, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Look the names up again and again. A server that stays keeps its state; a new one first gets its adapters."""
        while True:
            await sleep(_LOOK_SECONDS)
            found = await asyncio.to_thread(self.find)
            if found != [member.upstream for member in self._pool.members]:
                self._pool.replace(found, ready=False)

    def _servers(self, named: Named) -> tuple[Upstream, ...]:
        if not named.each_address:
            return (named.upstream,)
        try:
            urls = at_each_address(named.upstream.url)
        except OSError as error:
            self._tell(named, f"{named.upstream.url}: the name cannot be looked up ({error})")
            return self._known.get(named, (named.upstream,))
        self._tell(named, "")
        self._known[named] = tuple(replace(named.upstream, url=url) for url in urls)
        return self._known[named]

    def _tell(self, named: Named, trouble: str) -> None:
        if trouble and trouble != self._troubles.get(named):
            self._say(trouble)
        self._troubles[named] = trouble
