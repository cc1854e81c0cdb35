"""``agent serve``: the model, vLLM, the active adapter, the gateway; in this order up, in the other down."""

import asyncio
import contextlib
import errno
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator

import uvicorn

from agent.config import Config, GatewayConfig
from agent.interaction_log import InteractionLog
from agent.serving import default_model, state
from agent.serving.exchange_log import ExchangeLog
from agent.serving.gateway import Gateway
from agent.serving.lock import SERVE, process_lock
from agent.serving.supervisor import Supervisor
from agent.serving.upstream import Upstream
from agent.serving.vllm_process import VllmServer
from toolkit.errors import PrerequisiteError, UserError

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_DRAIN_SECONDS = 10


def serve(config: Config) -> None:
    """Serve until a signal to stop. Where a server of this data folder runs or starts already, only says so."""
    with process_lock(config.data_folder, SERVE) as held_by:
        if held_by is not None:
            running = state.read(config.data_folder)
            _say(f"already serving at {running.gateway_url}" if running else f"process {held_by} is starting a server")
            return
        for number in _heeded():
            signal.signal(number, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):
            _serve(config)
        _say("stopped")


def _serve(config: Config) -> None:
    data = config.data_folder
    gateway_config = config.agent.serving.gateway
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_bound(gateway_config))
        url = _url(gateway_config.host, listener.getsockname()[1])
        launch = _Launcher(config)
        log = stack.enter_context(InteractionLog(data / "interactions.db"))
        supervisor = Supervisor(launch, data, _say)
        stack.callback(supervisor.stop)
        gateway = Gateway(data, host=gateway_config.host, log=ExchangeLog(log))

        def announce(upstream: Upstream | None) -> None:
            gateway.upstream = upstream
            if upstream is not None:
                state.write(data, _state(url, upstream))

        stack.callback(state.remove, data, os.getpid())
        upstream = supervisor.start()
        web = _Web(gateway, on_started=lambda: (announce(upstream), _say(f"ready at {url}")))
        asyncio.run(_run(web, listener, supervisor.watch(announce), launch.give_up))


async def _run(
    web: "_Web", listener: socket.socket, watch: Coroutine[None, None, None], give_up: threading.Event
) -> None:
    loop = asyncio.get_running_loop()
    for number in _heeded():
        loop.add_signal_handler(number, web.stop)
    watching = asyncio.create_task(watch)
    # A watch that ends has met a bug; nothing would start vLLM again.
    watching.add_done_callback(lambda _: web.stop())
    await web.serve(sockets=[listener])
    give_up.set()
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching


def _heeded() -> list[signal.Signals]:
    """The signals that stop the server, without those that its parent (nohup, for one) wants ignored."""
    return [number for number in _STOP_SIGNALS if signal.getsignal(number) != signal.SIG_IGN]


class _Web(uvicorn.Server):
    """uvicorn, with the signals left to ``serve``: it would raise them again before vLLM is stopped."""

    def __init__(self, gateway: Gateway, on_started: Callable[[], object]) -> None:
        super().__init__(
            uvicorn.Config(
                gateway.app,
                log_level="warning",
                access_log=False,
                lifespan="on",
                timeout_keep_alive=75,
                timeout_graceful_shutdown=_DRAIN_SECONDS,
            )
        )
        self._on_started = on_started

    def stop(self) -> None:
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_started()


class _Launcher:
    """Prepares the model once and starts vLLM on it, any number of times; ``give_up`` ends a start under way."""

    def __init__(self, config: Config) -> None:
        self.give_up = threading.Event()
        self._config = config
        self._said = ""

    def __call__(self) -> VllmServer:
        data, serving = self._config.data_folder, self._config.agent.serving
        model = default_model.resolve(serving.model, data, self._progress("model"))
        log = data / "logs" / "vllm.log"
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        return VllmServer.start(serving.vllm_process, model, log, progress=self._progress("vLLM"))

    def _progress(self, what: str) -> Callable[[str, float], None]:
        def show(step: str, seconds: float) -> None:
            if self.give_up.is_set():
                raise UserError("stopped while starting; start again with: agent serve")
            if (line := f"{what}: {step}") != self._said:
                self._said = line
                _say(f"{line} ({seconds:.0f} s)" if seconds >= 1 else line)

        return show


def _bound(config: GatewayConfig) -> socket.socket:
    """A socket that has the gateway's port, and does not listen yet."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        where = f"port {config.port} on {config.host}"
        problem = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        raise PrerequisiteError(
            f"{where} {problem}; stop what uses it, or set another port in [agent.serving.gateway] of config.toml"
        ) from error
    return bound


def _url(host: str, port: int) -> str:
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def _state(url: str, upstream: Upstream) -> state.ServingState:
    return state.ServingState(
        pid=os.getpid(), gateway_url=url, vllm_url=upstream.url, vllm_pid=upstream.pid, vllm_key=upstream.key
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
