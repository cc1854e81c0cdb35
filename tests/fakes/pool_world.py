"""A pool of model servers."""

import asyncio
from pathlib import Path

import pytest

from agent.serving.upstreams.connection import Upstream
from agent.serving.upstreams.pool import UpstreamPool
from tests.fakes.model_server import ModelServer

KEY = "key"


CHAT = {"model": "agent", "messages": [{"role": "user", "content": "hi"}]}


def pool_of(data: Path, servers: list[ModelServer], *, ready: bool = True) -> tuple[UpstreamPool, list[str]]:
    said: list[str] = []
    pool = UpstreamPool(data, said.append)
    pool.replace([Upstream(server.url, KEY) for server in servers], ready=ready)
    return pool, said


def look(pool: UpstreamPool, times: int = 1) -> None:
    """Let the pool look at its servers."""
    looks = iter(range(times))

    async def sleep(_: float) -> None:
        if next(looks, None) in (None, times - 1):
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(pool.watch(sleep=sleep))
