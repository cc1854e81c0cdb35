"""``agent serve``: the model, vLLM, the active adapter, the gateway; in this order up, in the other down."""

import asyncio
import contextlib
import errno
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from agent.adapters import active
from agent.adapters.package import model_sha256
from agent.config import Config, GatewayConfig, UpstreamConfig
from agent.http.address import of_socket
from agent.log.interaction_log import FILE, InteractionLog
from agent.log.traced_log import traced_log
from agent.models import default_model
from agent.models.chosen import configured_profile
from agent.models.detect import profile_of
from agent.models.profile import EMBEDDED
from agent.models.template_markers import Markers, configured_markers
from agent.serving import serving_state, socket_folder
from agent.serving.gateway.access import api_keys
from agent.serving.gateway.agent.chat_completions import AgentModel
from agent.serving.gateway.agent.turns import AgentTurns
from agent.serving.gateway.app import Gateway
from agent.serving.gateway.capture_log import CaptureLog
from agent.serving.gateway.pages import installed
from agent.serving.gateway.shadow import Shadow
from agent.serving.serving_state import ServingState
from agent.serving.shadow.agreement_log import AgreementLog
from agent.serving.upstreams.admin_api import AdminApi
from agent.serving.upstreams.connection import Upstream
from agent.serving.upstreams.follow import Follower
from agent.serving.upstreams.names import Named, NamedUpstreams
from agent.serving.vllm.process import KEEP_ALIVE_SECONDS, VllmServer
from agent.serving.vllm.supervisor import Supervisor
from agent.storage.process_lock import SERVE, process_lock
from toolkit.errors import PrerequisiteError, UserError

Watch = Callable[[], Coroutine[Any, Any, None]]
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_DRAIN_SECONDS = 10
_SWITCH_SECONDS = 0.0005
"""Time that the thread which writes the log may run while an answer waits."""
_KEPT_LOGS = 5


def serve(config: Config) -> None:
    """Serve until a signal to stop. Where a server of this data folder runs or starts already, only says so."""
    with process_lock(config.data_folder, SERVE) as held_by:
        if held_by is not None:
            running = serving_state.read(config.data_folder)
            _say(f"already serving at {running.gateway_url}" if running else f"process {held_by} is starting a server")
            return
        for number in _heeded():
            signal.signal(number, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):
            _serve(config)
        _say("stopped")


@dataclass(frozen=True)
class _Backend:
    """The model servers behind the gateway: ``begin`` lets it use them, ``watches`` keep them running, ``give_up`` ends
    a start that is under way."""

    begin: Callable[[], None]
    watches: tuple[Watch, ...] = ()
    give_up: threading.Event = field(default_factory=threading.Event)


def _serve(config: Config) -> None:
    data, serving = config.data_folder, config.agent.serving
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_bound(serving.gateway))
        sockets = stack.enter_context(socket_folder.socket_folder(data))
        admin_listener = stack.enter_context(socket_folder.bound(sockets / socket_folder.ADMIN))
        log = stack.enter_context(traced_log(config))
        pages = installed(config, _say)
        capture = CaptureLog(log, capacity=serving.gateway.log_queue)
        gateway = Gateway(data, serving.gateway, log=capture, pages=pages, say=_say)
        gateway.chooses = config.agent.prompt.judge_tools
        admin = AdminApi(gateway.pool, gateway.connections)
        url = _url(serving.gateway.host, listener.getsockname()[1])
        gateway.agent = AgentModel(_turns(config, log, url, gateway), gateway.metrics)
        _begin_shadow(config, gateway, stack)
        state = ServingState(
            pid=os.getpid(),
            gateway_url=url,
            gateway_key=gateway.own_key,
            vllm_url=of_socket(sockets / socket_folder.ADMIN),
            vllm_key=admin.key,
            vllm_pid=0,
            settings=serving_state.answer_settings(config.agent),
        )
        stack.callback(serving_state.remove, data, os.getpid())
        announce = partial(_announce, data, state, gateway)
        if gateway.needs_keys and not any(key.revoked_at is None for key in api_keys.read(data)):
            _say("requests need an API key here, and there is none; make one with: agent keys create NAME")
        follower = _follower(config, gateway, stack)
        if serving.upstreams:
            backend = _upstreams(config, gateway, announce)
        else:
            backend = _own_vllm(config, gateway, sockets / socket_folder.VLLM, announce, stack)
        shown = _shown(url, pages)
        web = _Web(gateway.app, on_started=lambda: (backend.begin(), _say(f"ready at {url}"), *map(_say, shown)))
        servers = [(web, listener), (_Web(admin.app), admin_listener)]
        sys.setswitchinterval(_SWITCH_SECONDS)
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            runner.run(_run(servers, (gateway.pool.watch, *follower, *backend.watches), backend.give_up))


def _turns(config: Config, log: InteractionLog, url: str, gateway: Gateway) -> AgentTurns:
    return AgentTurns(config, log, url, gateway.own_key, prompt_version=lambda: gateway.prompt_version())  # noqa: PLW0108


def _follower(config: Config, gateway: Gateway, stack: contextlib.ExitStack) -> tuple[Watch, ...]:
    """Let the pointer here be that of the database, where config.toml names one; return what keeps it so."""
    if not config.agent.database:
        return ()
    if tenants := active.tenants(config.data_folder):
        _say(f"the adapters of tenants serve on this machine only, not at other gateways: {', '.join(tenants)}")
    follower = stack.enter_context(Follower(config.data_folder, config.agent.database, gateway.pool, _say))
    follower.catch_up(lambda: _base_sha256(config))
    return (follower.watch,)


def _base_sha256(config: Config) -> str:
    """Return the hash of the model that vLLM will serve; "" where there is none yet, or the servers are others'."""
    model = default_model.present(config.agent.serving.model, config.data_folder)
    return "" if config.agent.serving.upstreams or model is None else model_sha256(model)


def _begin_shadow(config: Config, gateway: Gateway, stack: contextlib.ExitStack) -> None:
    """Let the server of ``[agent.serving.shadow]`` answer, if there is one."""
    shadow = config.agent.serving.shadow
    if shadow.url:
        upstream = Upstream(shadow.url, _key(shadow.url, shadow.key_variable, "[agent.serving.shadow]"))
        agreements = stack.enter_context(AgreementLog(config.data_folder / FILE))
        gateway.shadow = Shadow(shadow, upstream, config.data_folder, gateway.proxy, agreements, _say)


def _announce(
    data_folder: Path, state: ServingState, gateway: Gateway, *upstreams: Upstream | None, ready: bool = True
) -> None:
    """Let the gateway use ``upstreams``, and tell the other commands that it serves; None stands for no server."""
    present = [upstream for upstream in upstreams if upstream is not None]
    gateway.pool.replace(present, ready=ready)
    if present:
        found = {"vllm_pid": present[0].pid, "prompt_version": gateway.prompt_version()}
        serving_state.write(data_folder, state.model_copy(update=found))


def _upstreams(config: Config, gateway: Gateway, announce: Callable[..., None]) -> _Backend:
    """Return the servers of others that config.toml names."""
    serving = config.agent.serving
    markers = configured_markers(serving, default_model.present(serving.model, config.data_folder))
    gateway.markers = lambda: markers
    with contextlib.suppress(UserError):  # a model that cannot be spoken to is refused where it is started
        profile = configured_profile(serving, config.data_folder)
        gateway.parallel = lambda: profile.parallel
        gateway.user_after_result = lambda: profile.user_after_result
    named = [Named(_upstream(one), one.each_address) for one in serving.upstreams]
    names = NamedUpstreams(named, gateway.pool, _say)
    watches = (names.watch,) if any(one.each_address for one in named) else ()
    return _Backend(lambda: announce(*names.find(), ready=False), watches)


def _own_vllm(
    config: Config, gateway: Gateway, vllm_socket: Path, announce: Callable[..., None], stack: contextlib.ExitStack
) -> _Backend:
    """Start vLLM, which is stopped with ``stack``, and return it."""
    launch = _Launcher(config, vllm_socket)
    gateway.pool.base_sha256, gateway.pool.template_sha256 = launch.base_sha256, launch.template_sha256
    gateway.markers, gateway.prompt_version, gateway.parallel = launch.markers, launch.prompt_version, launch.parallel
    gateway.user_after_result = launch.user_after_result
    supervisor = Supervisor(
        launch,
        config.data_folder,
        _say,
        config=config.agent.serving.vllm_process,
        idle_seconds=gateway.pool.idle_seconds,
        base_sha256=launch.base_sha256,
        template_sha256=launch.template_sha256,
    )
    stack.callback(supervisor.stop)
    return _Backend(partial(announce, supervisor.start()), (partial(supervisor.watch, announce),), launch.give_up)


async def _run(
    servers: "list[tuple[_Web, socket.socket]]",
    watches: Sequence[Watch],
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
    key = _key(config.url, config.key_variable, "[[agent.serving.upstreams]]")
    return Upstream(config.url, key, adapters_folder=config.adapters_folder)


def _key(url: str, variable: str, table: str) -> str:
    key = os.environ.get(variable, "") if variable else ""
    if variable and not key:
        raise PrerequisiteError(
            f"the environment has no {variable}, the key of {url}; set it, or change key_variable in {table} "
            "of config.toml"
        )
    return key


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

    def __init__(self, config: Config, vllm_socket: Path) -> None:
        self.give_up = threading.Event()
        self._config = config
        self._socket = vllm_socket
        self._said = ""
        self._base_sha256 = ""
        self._markers = configured_markers(config.agent.serving, None)
        self._profile = EMBEDDED

    def base_sha256(self) -> str:
        """Hash of the model that was started last."""
        return self._base_sha256

    def template_sha256(self) -> str:
        """Hash of its chat template."""
        return self._profile.template_sha256

    def markers(self) -> Markers:
        """Return the template markers of the model that was started last."""
        return self._markers

    def prompt_version(self) -> str:
        """Return the profile version of the model that was started last."""
        return self._profile.version

    def parallel(self) -> bool:
        """Return whether an answer of that model may hold several calls."""
        return self._profile.parallel

    def user_after_result(self) -> bool:
        """Return whether a message of the user may follow on a result there."""
        return self._profile.user_after_result

    def __call__(self) -> VllmServer:
        data, serving = self._config.data_folder, self._config.agent.serving
        model = default_model.resolve(serving.model, data, self._progress("model"))
        self._markers = configured_markers(serving, model)
        self._profile = profile = profile_of(model, serving.profile)
        log = data / "logs" / "vllm.log"
        _keep(log)
        with ThreadPoolExecutor(1) as beside:  # reading a large model again takes a while; starting it takes longer
            hashed = beside.submit(model_sha256, model)
            server = VllmServer.start(
                serving.vllm_process, model, log, self._socket, profile=profile, progress=self._progress("vLLM")
            )
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


def _shown(url: str, paths: Iterable[str]) -> list[str]:
    return [f"dashboard at {url}{path}/" for path in paths]


def _url(host: str, port: int) -> str:
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
