"""The web server of the gateway: its socket, its signals, its loop."""

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import Callable, Iterable, Iterator

import uvicorn
from starlette.types import ASGIApp

from agent.config import GatewayConfig
from agent.serving.vllm.command_line import KEEP_ALIVE_SECONDS
from toolkit.errors import PrerequisiteError

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


_DRAIN_SECONDS = 10


def new_loop() -> asyncio.AbstractEventLoop:
    """Return a loop of uvloop, or of asyncio where uvloop is not installed."""
    try:
        import uvloop
    except ImportError:  # there is none for every machine
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def heeded() -> list[signal.Signals]:
    """Return the signals that stop the server, without those that its parent (nohup, for one) wants ignored."""
    return [number for number in _STOP_SIGNALS if signal.getsignal(number) != signal.SIG_IGN]


class WebServer(uvicorn.Server):
    """uvicorn, with the signals left to ``serve``: it would raise them again before vLLM is stopped."""

    def __init__(self, app: ASGIApp, on_started: Callable[[], object] = lambda: None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                lifespan="on",
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_DRAIN_SECONDS,
            )
        )
        self._on_started = on_started

    def stop(self) -> None:
        """End the server; what is under way is answered first."""
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_started()


def bound(config: GatewayConfig) -> socket.socket:
    """Return a socket on the gateway's port that does not listen yet. Raises PrerequisiteError where it is in use."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
        opened = socket.socket(family, kind, protocol)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(address)
        except OSError:
            opened.close()
            raise
    except OSError as error:
        where = f"port {config.port} on {config.host}"
        problem = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        raise PrerequisiteError(
            f"{where} {problem}; stop what uses it, or set another port in [agent.serving.gateway] of config.toml"
        ) from error
    return opened


def addresses_of(url: str, paths: Iterable[str]) -> list[str]:
    """Return the lines that say where the pages at ``paths`` are."""
    return [f"dashboard at {url}{path}/" for path in paths]


def url_of(host: str, port: int) -> str:
    """Return the URL at which this machine reaches a server that listens on ``host``."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
