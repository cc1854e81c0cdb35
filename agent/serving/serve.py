"""``agent serve``: the model, vLLM, the active adapter, the gateway; in this order up, in the other down."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from agent.adapters.package import model_sha256
from agent.config import Config, UpstreamConfig
from agent.http.address import of_socket
from agent.log.interaction_log import FILE, InteractionLog
from agent.log.traced_log import traced_log
from agent.models import default_model
from agent.models.chosen import configured_profile
from agent.models.template_markers import configured_markers
from agent.serving import serving_state, socket_folder
from agent.serving.chat_start import chat_start
from agent.serving.gateway.access import api_keys
from agent.serving.gateway.agent.chat_completions import AgentModel
from agent.serving.gateway.agent.chat_door import ChatDoor
from agent.serving.gateway.agent.turns import AgentTurns
from agent.serving.gateway.app import Gateway
from agent.serving.gateway.capture_log import CaptureLog
from agent.serving.gateway.pages import installed
from agent.serving.gateway.shadow import Shadow
from agent.serving.hosted.servers import hosted_servers
from agent.serving.serving_state import HostedAddress, ServingState
from agent.serving.shadow.agreement_log import AgreementLog
from agent.serving.upstreams.admin_api import AdminApi
from agent.serving.upstreams.connection import Upstream
from agent.serving.upstreams.follow import Follower
from agent.serving.upstreams.names import Named, NamedUpstreams
from agent.serving.vllm.launcher import Launcher, ServedModel
from agent.serving.vllm.supervisor import Supervisor
from agent.serving.web_server import WebServer, addresses_of, bound, heeded, new_loop, url_of
from agent.storage.process_lock import SERVE, process_lock
from toolkit.config_file import ConfigFile
from toolkit.errors import PrerequisiteError, UserError

Watch = Callable[[], Coroutine[Any, Any, None]]
_SWITCH_SECONDS = 0.0005
"""Time that the thread which writes the log may run while an answer waits."""


def serve(config: Config, file: ConfigFile) -> None:
    """Serve ``config``, which is what ``file`` says, until a signal to stop.

    Where a server of this data folder runs or starts already, only says so.
    """
    with process_lock(config.data_folder, SERVE) as held_by:
        if held_by is not None:
            running = serving_state.read(config.data_folder)
            _say(f"already serving at {running.gateway_url}" if running else f"process {held_by} is starting a server")
            return
        for number in heeded():
            signal.signal(number, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):
            _serve(config, file)
        _say("stopped")


@dataclass(frozen=True)
class _Backend:
    """The model servers behind the gateway: ``begin`` lets it use them, ``watches`` keep them running, ``give_up`` ends
    a start that is under way."""

    begin: Callable[[], None]
    watches: tuple[Watch, ...] = ()
    give_up: threading.Event = field(default_factory=threading.Event)


def _serve(config: Config, file: ConfigFile) -> None:
    data, serving = config.data_folder, config.agent.serving
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(bound(serving.gateway))
        sockets = stack.enter_context(socket_folder.socket_folder(data))
        admin_listener = stack.enter_context(socket_folder.bound(sockets / socket_folder.ADMIN))
        log = stack.enter_context(traced_log(config))
        pages = installed(config, _say)
        capture = CaptureLog(log, capacity=serving.gateway.log_queue)
        gateway = Gateway(data, serving.gateway, log=capture, pages=pages, say=_say)
        gateway.chooses = config.agent.prompt.judge_tools
        admin = AdminApi(gateway.pool, gateway.connections)
        url = url_of(serving.gateway.host, listener.getsockname()[1])
        gateway.agent = AgentModel(_turns(config, log, url, gateway), gateway.metrics)
        chat_listener = stack.enter_context(socket_folder.bound(sockets / socket_folder.CHAT))
        chat = partial(ChatDoor(gateway.agent.turns).serve, chat_listener)
        _begin_shadow(config, gateway, stack)
        state = _state(config, file, url, gateway, admin, sockets)
        stack.callback(serving_state.remove, data, os.getpid())
        announce = partial(_announce, data, state, gateway)
        if gateway.needs_keys and not any(key.revoked_at is None for key in api_keys.read(data)):
            _say("requests need an API key here, and there is none; make one with: agent keys create NAME")
        follower = _follower(config, gateway, stack)
        if serving.upstreams:
            backend = _upstreams(config, gateway, announce)
        else:
            start = _hosted if config.cluster.servers else _own_vllm
            backend = start(config, gateway, sockets / socket_folder.VLLM, announce, stack)
        shown = addresses_of(url, pages)
        web = WebServer(gateway.app, on_started=lambda: (backend.begin(), _say(f"ready at {url}"), *map(_say, shown)))
        servers = [(web, listener), (WebServer(admin.app), admin_listener)]
        sys.setswitchinterval(_SWITCH_SECONDS)
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(_run(servers, (gateway.pool.watch, chat, *follower, *backend.watches), backend.give_up))


def _state(
    config: Config, file: ConfigFile, url: str, gateway: Gateway, admin: AdminApi, sockets: Path
) -> ServingState:
    return ServingState(
        pid=os.getpid(),
        gateway_url=url,
        gateway_key=gateway.own_key,
        vllm_url=of_socket(sockets / socket_folder.ADMIN),
        vllm_key=admin.key,
        vllm_pid=0,
        settings=serving_state.answer_settings(config.agent),
        chat=chat_start(config, file, sockets / socket_folder.CHAT),
    )


def _turns(config: Config, log: InteractionLog, url: str, gateway: Gateway) -> AgentTurns:
    return AgentTurns(config, log, url, gateway.own_key, prompt_version=lambda: gateway.prompt_version())  # noqa: PLW0108


def _follower(config: Config, gateway: Gateway, stack: contextlib.ExitStack) -> tuple[Watch, ...]:
    """Let the pointers here be those of the database, where config.toml names one; return what keeps them so."""
    if not config.agent.database:
        return ()
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
        hosted = [HostedAddress(url=one.url, key=one.key) for one in present if one.deliver is not None]
        found = {"vllm_pid": present[0].pid, "prompt_version": gateway.prompt_version(), "hosted": tuple(hosted)}
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
    launch = Launcher(config, vllm_socket, _say)
    _speak_as(gateway, lambda: launch.model)
    supervisor = Supervisor(
        launch,
        config.data_folder,
        _say,
        config=config.agent.serving.vllm_process,
        idle_seconds=gateway.pool.idle_seconds,
        base_sha256=lambda: launch.model.base_sha256,
        template_sha256=lambda: launch.model.template_sha256,
    )
    stack.callback(supervisor.stop)
    return _Backend(partial(announce, supervisor.start()), (partial(supervisor.watch, announce),), launch.give_up)


def _hosted(
    config: Config, gateway: Gateway, vllm_socket: Path, announce: Callable[..., None], stack: contextlib.ExitStack
) -> _Backend:
    """Start the servers on nodes of the cluster, which are stopped with ``stack``, and return them."""
    prepared = Launcher(config, vllm_socket, _say).prepare()
    model = replace(prepared, base_sha256=model_sha256(prepared.folder))
    _speak_as(gateway, lambda: model)
    servers = stack.enter_context(hosted_servers(config, model, _say, gateway.pool.idle_seconds))
    begin = partial(announce, *servers.open(), ready=False)
    return _Backend(begin, (partial(servers.watch, partial(announce, ready=False)),))


def _speak_as(gateway: Gateway, served: Callable[[], ServedModel]) -> None:
    """Let the gateway ask its servers as the model is spoken to that was started last."""
    gateway.pool.base_sha256 = lambda: served().base_sha256
    gateway.pool.template_sha256 = lambda: served().template_sha256
    gateway.markers = lambda: served().markers
    gateway.prompt_version = lambda: served().profile.version
    gateway.parallel = lambda: served().profile.parallel
    gateway.user_after_result = lambda: served().profile.user_after_result


async def _run(
    servers: "list[tuple[WebServer, socket.socket]]",
    watches: Sequence[Watch],
    give_up: threading.Event,
) -> None:
    web = servers[0][0]
    loop = asyncio.get_running_loop()
    for number in heeded():
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


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
