"""Lets this gateway serve what the pointer on Postgres names, whoever changed it.

The pointer is asked for a few times a second. A change comes to this machine in an order that keeps every moment
consistent: the adapter's files, then the model servers, then the file that each request reads. While the database
cannot be asked, or the adapter cannot be used, what served goes on.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from agent.adapters import active, required, shared_pointer
from agent.adapters.active import ActiveAdapter
from agent.errors import AdapterError, ModelUnavailable
from agent.serving.upstreams.pool import UpstreamPool
from toolkit.errors import UserError

_LOOK_SECONDS = 0.25
_AGAIN_SECONDS = 2.0
"""The pause after a failure."""


class Follower:
    """Brings changes of the pointer at ``url`` to ``data_folder`` and ``pool``; use it in a ``with``.

    ``say`` gets a line for each thing that happens. Raises StorageError where the database does not answer.
    """

    def __init__(self, data_folder: Path, url: str, pool: UpstreamPool, say: Callable[[str], None]) -> None:
        self._data_folder, self._url, self._pool, self._say = data_folder, url, pool, say
        # The next look asks again: a gateway that stops waits for nobody.
        self._database = shared_pointer.open_pointer(url, patience=0.0)
        self._taken = self._said = ""
        self._brought: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._database.close()

    def catch_up(self) -> None:
        """Take the pointer over before there are servers, which are then given what it names.

        Where that fails, it is said, and what served last on this machine does.
        """
        try:
            if (text := self._changed()) and (pointer := self._parsed(text)) is not None:
                for name, sha256 in pointer.named:
                    shared_pointer.fetch_files(self._database, self._data_folder, name, sha256)
                    self._require(name, sha256)
                self._take(text, pointer)
        except (UserError, OSError) as error:
            self._complain(error)

    async def watch(self, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Look for a change again and again."""
        while True:
            try:
                await self._look()
            except (UserError, OSError) as error:
                self._complain(error)
                await sleep(_AGAIN_SECONDS)
            else:
                self._said = ""
                await sleep(_LOOK_SECONDS)

    async def _look(self) -> None:
        text = await asyncio.to_thread(self._changed)
        if not text or (pointer := self._parsed(text)) is None:
            return
        for name, sha256 in pointer.named:
            folder = await asyncio.to_thread(
                shared_pointer.fetch_files, self._database, self._data_folder, name, sha256
            )
            if not self._pool.is_due(name):
                await self._load(name, folder, sha256)
        self._take(text, pointer)

    async def _load(self, name: str, folder: Path, sha256: str) -> None:
        """Load an adapter on the servers that answer; one that comes back later gets it then."""
        try:
            await self._pool.load(name, folder)
        except ModelUnavailable:
            self._require(name, sha256)
        self._brought.add(name)

    def _changed(self) -> str:
        """Return the pointer of the database as JSON; "" where it is the one that was taken over, or there is none."""
        with self._database.transaction("BEGIN") as db:
            text = shared_pointer.read(db)
        return "" if text == self._taken else text

    def _parsed(self, text: str) -> ActiveAdapter | None:
        """Return the pointer that ``text`` holds; None, once ``text`` is taken, where this machine has it already."""
        pointer = active.parsed(text, f"{self._url}: the active adapter")
        with suppress(AdapterError):
            if active.read_here(self._data_folder) == pointer:
                self._taken = text
                return None
        return pointer

    def _take(self, text: str, pointer: ActiveAdapter) -> None:
        active.write_here(self._data_folder, pointer)
        self._taken = text
        self._say(f"{pointer.name} serves now" + (f"; {pointer.canary.name} is on trial" if pointer.canary else ""))
        before = {pointer.change.previous} if pointer.change is not None else set[str]()
        for name in self._brought - {name for name, _ in pointer.named} - before:
            required.remove(self._data_folder, name)  # a server that starts again need not load it
            self._brought.discard(name)

    def _require(self, name: str, sha256: str) -> None:
        required.add(self._data_folder, name, sha256)

    def _complain(self, error: Exception) -> None:
        if str(error) != self._said:
            self._said = str(error)
            self._say(f"the active adapter stays: {error}")
