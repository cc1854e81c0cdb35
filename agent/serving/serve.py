"""``agent serve``: the model, vLLM, the active adapter, the gateway; in this order up, in the other down."""

import asyncio
import contextlib
import errno
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from agent.config import Config, GatewayConfig, UpstreamConfig
from agent.interaction_log import InteractionLog
from agent.serving import api_keys, default_model, state
from agent.serving.adapter_folder import model_sha256
from agent.serving.admin_door import AdminDoor
from agent.serving.exchange_log import ExchangeLog
from agent.serving.gateway import Gateway
from agent.serving.lock import SERVE, process_lock
from agent.serving.supervisor import Supervisor
from agent.serving.upstream import Upstream
from agent.serving.vllm_process import HOST, KEEP_ALIVE_SECONDS, VllmServer
from toolkit.errors import PrerequisiteError, UserError

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_DRAIN_SECONDS = 10
_SWITCH_SECONDS = 0.0005
"""How long the thread that writes the log may go on while an answer waits."""
_KEPT_LOGS = 5


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
    data, serving = config.data_folder, config.agent.serving
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_bound(serving.gateway))
        door_listener = stack.enter_context(socket.create_server((HOST, 0)))
        log = stack.enter_context(InteractionLog.of(config))
        gateway = Gateway(data, serving.gateway, log=ExchangeLog(log, capacity=serving.gateway.log_queue), say=_say)
        door = AdminDoor(gateway.fleet, gateway.connections)
        url = _url(serving.gateway.host, listener.getsockname()[1])
        announced = state.ServingState(
            pid=os.getpid(),
            gateway_url=url,
            gateway_key=gateway.own_key,
            vllm_url=f"http://{HOST}:{door_listener.getsockname()[1]}",
            vllm_key=door.key,
            vllm_pid=0,
        )
        stack.callback(state.remove, data, os.getpid())

        def announce(*upstreams: Upstream | None, ready: bool = True) -> None:
            present = [upstream for upstream in upstreams if upstream is not None]
            gateway.fleet.replace(present, ready=ready)
            if present:
                state.write(data, announced.model_copy(update={"vllm_pid": present[0].pid}))

        if gateway.needs_keys and not any(key.revoked_at is None for key in api_keys.read(data)):
            _say("requests need an API key here, and there is none; make one with: agent keys create NAME")
        launch = _Launcher(config)
        watches: list[Callable[[], Coroutine[Any, Any, None]]] = [gateway.fleet.watch]
        if serving.upstreams:
            others = [_upstream(one) for one in serving.upstreams]
            begin = partial(announce, *others, ready=False)
        else:
            gateway.fleet.base_sha256 = launch.base_sha256
            supervisor = Supervisor(
                launch,
                data,
                _say,
                config=serving.vllm_process,
                idle_seconds=gateway.fleet.idle_seconds,
                base_sha256=launch.base_sha256,
            )
            stack.callback(supervisor.stop)
            begin = partial(announce, supervisor.start())
            watches.append(partial(supervisor.watch, announce))
        web = _Web(gateway.app, on_started=lambda: (begin(), _say(f"ready at {url}")))
        servers = [(web, listener), (_Web(door.app), door_listener)]
        sys.setswitchinterval(_SWITCH_SECONDS)
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            runner.run(_run(servers, watches, launch.give_up))


async def _run(
    servers: "list[tuple[_Web, socket.socket]]",
    watches: Sequence[Callable[[], Coroutine[Any, Any, None]]],
    give_up: threading.Event,
) -> None:
    web = servers[0][0]
    loop = asyncio.get_running_loop()
    for number in _heeded():
        loop.add_signal_handler(number, web.stop)
    inner = [asyncio.create_task(server.serve(sockets=[listener])) for server, listener in servers[1:]]
    watching = [asyncio.create_task(watch()) for watch in watches]
    for task in watching:
        # A watch that ends has met a bug; nothing would start vLLM again.
        task.add_done_callback(lambda _: web.stop())
    await web.serve(sockets=[servers[0][1]])
    give_up.set()
    for task in watching:
        task.cancel()
    for server, _ in servers[1:]:
        server.stop()
    await asyncio.gather(*inner)
    for task in watching:
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # there is none for every machine
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _upstream(config: UpstreamConfig) -> Upstream:
    key = os.environ.get(config.key_variable, "") if config.key_variable else ""
    if config.key_variable and not key:
        raise PrerequisiteError(
            f"the environment has no {config.key_variable}, the key of {config.url}; set it, or change key_variable in "
            "[[agent.serving.upstreams]] of config.toml"
        )
    return Upstream(config.url, key, adapters_folder=config.adapters_folder)


def _heeded() -> list[signal.Signals]:
    """The signals that stop the server, without those that its parent (nohup, for one) wants ignored."""
    return [number for number in _STOP_SIGNALS if signal.getsignal(number) != signal.SIG_IGN]


class _Web(uvicorn.Server):
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
        self._base_sha256 = ""

    def base_sha256(self) -> str:
        """Of the model that was started last."""
        return self._base_sha256

    def __call__(self) -> VllmServer:
        data, serving = self._config.data_folder, self._config.agent.serving
        model = default_model.resolve(serving.model, data, self._progress("model"))
        log = data / "logs" / "vllm.log"
        _keep(log)
        with ThreadPoolExecutor(1) as beside:  # reading a large model again takes a while; starting it takes longer
            hashed = beside.submit(model_sha256, model)
            server = VllmServer.start(serving.vllm_process, model, log, progress=self._progress("vLLM"))
        self._base_sha256 = hashed.result()
        return server

    def _progress(self, what: str) -> Callable[[str, float], None]:
        def show(step: str, seconds: float) -> None:
            if self.give_up.is_set():
                raise UserError("stopped while starting; start again with: agent serve")
            if (line := f"{what}: {step}") != self._said:
                self._said = line
                _say(f"{line} ({seconds:.0f} s)" if seconds >= 1 else line)

        return show


def _keep(log: Path) -> None:
    """vllm.log becomes vllm.log.1, that one vllm.log.2, and so on; what a vLLM said before it died stays to be read."""
    for number in range(_KEPT_LOGS - 1, -1, -1):
        older = log.with_suffix(f".log.{number}") if number else log
        if older.exists():
            older.replace(log.with_suffix(f".log.{number + 1}"))


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


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
