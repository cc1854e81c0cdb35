"""The way of comparisons of shadow mode into the database: one writer behind a bounded queue."""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from toolkit.errors import UserError

_CAPACITY = 1024
_DRAIN_SECONDS = 20.0
"""The time after which a writer that is to end begins nothing further."""


class _Entry(NamedTuple):
    """``write`` is called in a thread; ``done`` in the loop, when it was written, failed or dropped."""

    write: Callable[[], None]
    done: Callable[[], None]


class ShadowLog:
    """Calls what is handed in, one after the other and each in a thread. All methods belong to one event loop.

    However long the database is away, one thread waits for it and at most ``capacity`` entries wait behind that one;
    ``dropped`` counts those beyond. ``say`` gets a line for each entry that the database refused, counted in
    ``failed``.
    """

    def __init__(self, say: Callable[[str], None], *, capacity: int = _CAPACITY) -> None:
        self.dropped = self.failed = 0
        self._say, self._capacity = say, capacity
        self._queue: asyncio.Queue[_Entry | None] = asyncio.Queue()
        self._writer: asyncio.Task[None] | None = None
        self._unavailable = False
        self._ends_at: float | None = None

    def put(self, write: Callable[[], None], done: Callable[[], None] = lambda: None) -> bool:
        """Let ``write`` be called, which may raise; return False where it is dropped. Never waits."""
        if self._ends_at is not None or self._queue.qsize() >= self._capacity:
            self._drop(done)
            return False
        self._queue.put_nowait(_Entry(write, done))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all())
        return True

    async def close(self) -> None:
        """Write what waits, and drop the rest where the database is gone or slow."""
        self._ends_at = time.monotonic() + _DRAIN_SECONDS
        if self._writer is not None:
            self._queue.put_nowait(None)
            await self._writer

    async def _write_all(self) -> None:
        while (entry := await self._queue.get()) is not None:
            if self._ends_at is not None and (self._unavailable or time.monotonic() > self._ends_at):
                self._drop(entry.done)
                continue
            try:
                await asyncio.to_thread(entry.write)
                self._unavailable = False
            except Exception as error:  # noqa: BLE001 - one that cannot be stored must not end the writing
                self._unavailable = isinstance(error, UserError)
                self.failed += 1
                self._say(f"a comparison was not stored: {error}")
            finally:
                entry.done()

    def _drop(self, done: Callable[[], None]) -> None:
        self.dropped += 1
        done()
