"""A gateway on a real socket."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from agent.config import GatewayConfig
from agent.log.interaction_log import InteractionLog
from agent.serving.gateway.app import Gateway
from agent.serving.gateway.capture_log import CaptureLog
from agent.serving.upstreams.connection import Upstream
from agent.serving.vllm.command_line import KEEP_ALIVE_SECONDS
from tests.fakes.model_server import ModelServer

KEY = "upstream-key"


class _Server(uvicorn.Server):
    """Ends as soon as it shall, which uvicorn looks for ten times a second: many tests start one."""

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            await asyncio.sleep(0.01)


def _settings(gateway: Gateway) -> uvicorn.Config:
    return uvicorn.Config(
        gateway.app, log_level="error", timeout_keep_alive=KEEP_ALIVE_SECONDS, timeout_graceful_shutdown=5
    )


@contextmanager
def running(gateway: Gateway, host: str = "127.0.0.1") -> Iterator[str]:
    """Yields the URL; leaving stops the gateway cleanly."""
    listener = socket.create_server((host, 0))
    web = _Server(_settings(gateway))
    thread = threading.Thread(target=web.run, args=([listener],))
    thread.start()
    while not web.started and thread.is_alive():
        time.sleep(0.005)
    try:
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        web.should_exit = True
        thread.join()
        listener.close()


@contextmanager
def running_gateway(
    data: Path,
    server: ModelServer,
    log: InteractionLog | None = None,
    config: GatewayConfig | None = None,
    host: str = "127.0.0.1",
) -> Iterator[tuple[Gateway, str]]:
    """A gateway in front of ``server``, and its URL."""
    gateway = Gateway(
        data, config, log=CaptureLog(log, capacity=(config or GatewayConfig()).log_queue) if log else None
    )
    server.key = KEY
    gateway.pool.replace([Upstream(server.url, KEY, pid=4711)])
    with running(gateway, host) as url:
        yield gateway, url
