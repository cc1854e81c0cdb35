"""Keeps one vLLM running, with every adapter loaded in it that is due.

It is started again when it ends, when it no longer answers, and, while nobody asks for anything, when its memory in the
machine, not that of a GPU, has grown beyond a limit: unloading an adapter does not give back all that it took.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import httpx

from agent.config import VllmConfig
from agent.http.address import http_client
from agent.serving.upstreams.connection import Upstream
from agent.serving.upstreams.pool import bring_up_to_date
from toolkit.errors import UserError

_LOOK_SECONDS = 0.5
_EXAMINE_SECONDS = 5.0
_GIB = 1 << 30
_SHORTEST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_STABLE_SECONDS = 120.0
"""A server that ran this long before it died is started again at once."""
_GROWTH = 2
"""Default memory limit, in multiples of the memory at readiness; the KV cache comes on top."""


class Process(Protocol):
    """A running vLLM; agent.serving.vllm.process.VllmServer."""

    @property
    def url(self) -> str: ...
    @property
    def api_key(self) -> str: ...
    @property
    def pid(self) -> int: ...
    @property
    def alive(self) -> bool: ...
    def memory_bytes(self) -> int: ...
    def stop(self) -> None: ...


class Supervisor:
    """``launch`` starts a vLLM and returns when it is healthy; ``say`` gets a line for each thing that happens.

    ``idle_seconds`` tells how long nobody has asked for anything, ``base_sha256`` the hash of the model that was
    started last, ``template_sha256`` that of its chat template; "" where nobody knows it.
    """

    def __init__(
        self,
        launch: Callable[[], Process],
        data_folder: Path,
        say: Callable[[str], None],
        *,
        config: VllmConfig | None = None,
        idle_seconds: Callable[[], float] = lambda: 0.0,
        base_sha256: Callable[[], str] = lambda: "",
        template_sha256: Callable[[], str] = lambda: "",
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._launch = launch
        self._data_folder = data_folder
        self._say = say
        self._config = config or VllmConfig()
        self._idle_seconds = idle_seconds
        self._base_sha256 = base_sha256
        self._template_sha256 = template_sha256
        self._sleep = sleep
        self._clock = clock
        self._process: Process | None = None
        self._size_when_ready = 0
        self._answered = self._examined = clock()

    def start(self) -> Upstream:
        """Start vLLM and load the adapters that are due. Raises UserError, with nothing left running."""
        process = self._process = self._launch()
        upstream = Upstream(process.url, process.api_key, process.pid)
        try:
            hashes = self._base_sha256(), self._template_sha256()
            bring_up_to_date(upstream, self._data_folder, self._say, *hashes)
        except BaseException:
            self.stop()
            raise
        self._size_when_ready = process.memory_bytes()
        return upstream

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None

    async def watch(self, changed: Callable[[Upstream | None], None]) -> None:
        """Start vLLM again whenever it must be; ``changed`` hears where it is then, and None in between."""
        pause, started = 0.0, self._clock()
        while True:
            await self._sleep(_LOOK_SECONDS)
            reason = await self._reason_to_restart()
            if not reason:
                continue
            changed(None)
            pause = 0.0 if self._clock() - started > _STABLE_SECONDS else pause
            self._say(f"{reason}; starting it again{f' in {pause:.0f} s' if pause else ''}")
            await self._sleep(pause)
            pause = min(max(2 * pause, _SHORTEST_PAUSE), _LONGEST_PAUSE)
            try:
                upstream = await asyncio.to_thread(self._restart)
            except UserError as error:
                self._say(str(error))
                continue
            started = self._answered = self._clock()
            changed(upstream)
            self._say(f"vLLM runs again (process {upstream.pid})")

    async def _reason_to_restart(self) -> str:
        process = self._process
        if process is None or not process.alive:
            return "vLLM has ended"
        now = self._clock()
        if now - self._examined < _EXAMINE_SECONDS:
            return ""
        self._examined = now
        if await asyncio.to_thread(_answers, process.url):
            self._answered = self._clock()
        elif self._clock() - self._answered > self._config.unhealthy_seconds:
            return f"vLLM has not answered for {self._config.unhealthy_seconds:.0f} s"
        if self._idle_seconds() >= self._config.idle_seconds:
            used, limit = process.memory_bytes() / _GIB, self._memory_limit_gib()
            if used > limit:
                return f"vLLM has grown to {used:.1f} GiB, more than {limit:.1f}, and nobody is asking"
        return ""

    def _memory_limit_gib(self) -> float:
        grown = _GROWTH * self._size_when_ready / _GIB + self._config.cpu_kv_cache_gib
        return self._config.memory_limit_gib or grown

    def _restart(self) -> Upstream:
        self.stop()
        return self.start()


def _answers(url: str) -> bool:
    try:
        with http_client(url, timeout=_EXAMINE_SECONDS) as client:
            return client.get("/health").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
