"""Keeps one vLLM running, with the active adapter loaded in it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from agent.errors import AdapterError
from agent.messages import BASE
from agent.serving import active_adapter, vllm_admin
from agent.serving.adapter_folder import folder_of, verify
from agent.serving.upstream import Upstream
from toolkit.errors import UserError

_LOOK_SECONDS = 0.5
_SHORTEST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_STABLE_SECONDS = 120.0
"""A server that ran this long before it died is started again at once."""


class Process(Protocol):
    """A running vLLM; agent.serving.vllm_process.VllmServer."""

    @property
    def url(self) -> str: ...
    @property
    def api_key(self) -> str: ...
    @property
    def pid(self) -> int: ...
    @property
    def alive(self) -> bool: ...
    def stop(self) -> None: ...


class Supervisor:
    """``launch`` starts a vLLM and returns when it is healthy; ``say`` gets a line for each thing that happens."""

    def __init__(
        self,
        launch: Callable[[], Process],
        data_folder: Path,
        say: Callable[[str], None],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._launch = launch
        self._data_folder = data_folder
        self._say = say
        self._sleep = sleep
        self._clock = clock
        self._process: Process | None = None

    def start(self) -> Upstream:
        """Start vLLM and load the active adapter. Raises UserError, with nothing left running."""
        process = self._process = self._launch()
        upstream = Upstream(process.url, process.api_key, process.pid)
        try:
            load_active(upstream, self._data_folder, self._say)
        except BaseException:
            self.stop()
            raise
        return upstream

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None

    async def watch(self, changed: Callable[[Upstream | None], None]) -> None:
        """Start vLLM again whenever it ends; ``changed`` hears where it is then, and None in between."""
        pause, started = 0.0, self._clock()
        while True:
            await self._sleep(_LOOK_SECONDS)
            if self._process is not None and self._process.alive:
                continue
            changed(None)
            pause = 0.0 if self._clock() - started > _STABLE_SECONDS else pause
            self._say(f"vLLM has ended; starting it again{f' in {pause:.0f} s' if pause else ''}")
            await self._sleep(pause)
            pause = min(max(2 * pause, _SHORTEST_PAUSE), _LONGEST_PAUSE)
            try:
                upstream = await asyncio.to_thread(self._restart)
            except UserError as error:
                self._say(str(error))
                continue
            started = self._clock()
            changed(upstream)
            self._say(f"vLLM runs again (process {upstream.pid})")

    def _restart(self) -> Upstream:
        self.stop()
        return self.start()


def load_active(upstream: Upstream, data_folder: Path, say: Callable[[str], None]) -> None:
    """Load the adapter that the pointer names, after hashing its files. Raises AdapterError and UserError."""
    active = active_adapter.read(data_folder)
    if active.name == BASE:
        return
    folder = folder_of(data_folder, active.name)
    if not folder.is_dir():
        raise AdapterError(f"adapter {active.name} is missing; serve another one with: evolver rollback")
    verify(folder, active.sha256)
    say(f"loading {active.name}")
    vllm_admin.load(upstream.url, upstream.key, active.name, folder)
