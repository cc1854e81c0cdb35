"""One machine where adapters are promoted, and another one whose gateway follows."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent.adapters import active, shared_pointer
from agent.adapters.active import SHARED, ActiveAdapter, Canary, Change
from agent.serving.upstreams.connection import Upstream
from agent.serving.upstreams.follow import Follower
from agent.serving.upstreams.pool import UpstreamPool
from agent.storage import database_server
from tests.fakes.adapter_folder import sha256_of
from tests.fakes.evolution import publish_adapter
from tests.fakes.model_server import ModelServer

KEY = "key"


class Machines:
    """One machine where adapters are promoted, and another one whose gateway follows."""

    def __init__(self, folder: Path, url: str, server: ModelServer, stack: ExitStack) -> None:
        self.said: list[str] = []
        self.server, self.here, self._there, self._url = server, folder / "here", folder / "there", url
        database_server.keep(self._there, url)
        stack.callback(database_server.keep, self._there, "")
        self.pool = UpstreamPool(self.here, self.said.append)
        self.pool.replace([Upstream(server.url, KEY)])
        self.now = 1000.0
        self.follower = stack.enter_context(
            Follower(self.here, url, self.pool, self.said.append, clock=lambda: self.now)
        )

    def promote(
        self,
        name: str,
        *,
        previous: str = "base",
        store: bool = True,
        on_trial: str = "",
        tenant: str = "",
        of: str = "",
    ) -> None:
        """``tenant``: for whom it is promoted; ``of``: whose it is, if it is not everybody's."""
        adapters = [one for one in (name, on_trial) if one not in ("", "base", SHARED)]
        hashes = {one: self.made(one, store=store, tenant=of) for one in adapters}
        active.write(
            self._there,
            ActiveAdapter(
                name=name,
                sha256=hashes.get(name, ""),
                change=Change(serial=1, previous=previous, reason="test", by="person"),
                canary=Canary(name=on_trial, sha256=hashes[on_trial], share=0.5) if on_trial else None,
            ),
            tenant=tenant,
        )

    def made(self, name: str, *, store: bool, tenant: str = "") -> str:
        folder = self._there / "adapters" / name
        sha256 = sha256_of(folder if folder.exists() else publish_adapter(self._there, name, tenant=tenant).folder)
        if store:
            shared_pointer.store_files(self._url, folder, sha256)
        return sha256

    @property
    def serves(self) -> str:
        return active.read_here(self.here).name

    def serves_tenant(self, tenant: str) -> str:
        return active.read_here(self.here, tenant).name


def look(follower: Follower, *between: Callable[[], object]) -> list[float]:
    """Let it look once, and once more after each of ``between``; return the pauses that it made."""
    pauses: list[float] = []
    steps = iter(between)

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        step = next(steps, None)
        if step is None:
            raise asyncio.CancelledError
        step()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(follower.watch(sleep=sleep))
    return pauses
