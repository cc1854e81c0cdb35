"""Writes the gateway's exchanges to the interaction log, apart from answering."""

import asyncio
import sys
from types import TracebackType

from agent.interaction_log import InteractionLog
from agent.serving.exchange import Exchange, to_trajectory, tool_schemas

SOURCE = "gateway"


class ExchangeLog:
    """A bounded queue in front of an InteractionLog; use it in an ``async with``, which ends when all is written.

    A full queue makes senders wait, after their client has its answer. ``failures`` counts what could not be written.
    """

    def __init__(self, log: InteractionLog, *, capacity: int = 1024) -> None:
        self.failures = 0
        self._log = log
        self._capacity = capacity

    async def __aenter__(self) -> "ExchangeLog":
        self._queue: asyncio.Queue[Exchange | None] = asyncio.Queue(self._capacity)
        self._writer = asyncio.create_task(self._write_all())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._queue.put(None)
        await self._writer

    async def put(self, exchange: Exchange) -> None:
        await self._queue.put(exchange)

    async def _write_all(self) -> None:
        while (exchange := await self._queue.get()) is not None:
            await asyncio.to_thread(self._write, exchange)

    def _write(self, exchange: Exchange) -> None:
        try:
            trajectory = to_trajectory(exchange)
            self._log.append(trajectory, session=exchange.session, source=SOURCE, tool_schemas=tool_schemas(exchange))
        except Exception as error:  # noqa: BLE001 - one odd exchange, or a full disk, must not end the logging
            self.failures += 1
            print(f"an exchange was not logged: {error}", file=sys.stderr, flush=True)
