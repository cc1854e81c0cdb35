"""Writes the gateway's exchanges to the interaction log, apart from answering."""

import asyncio
import sys
from collections import OrderedDict
from dataclasses import dataclass
from types import TracebackType

from agent.interaction_log import COMPLETIONS_SOURCE, InteractionLog
from agent.messages import Trajectory
from agent.serving.exchange import Exchange, to_trajectory, tool_schemas

SOURCE = "gateway"

_BATCH = 64
_OPEN_CALLS = 20_000


@dataclass
class _Entry:
    """``exchange`` None: nothing to write. ``stored`` hears when all up to here is written, and whether this was."""

    exchange: Exchange | None
    stored: "asyncio.Future[bool] | None" = None


class ExchangeLog:
    """A bounded queue in front of an InteractionLog; use it in an ``async with``, which ends when all is written.

    Handing something in never waits, so that no answer does; ``room`` makes new requests wait while ``capacity``
    exchanges are not written yet. ``failures`` counts what could not be written.
    """

    def __init__(self, log: InteractionLog, *, capacity: int = 1024) -> None:
        self.failures = 0
        self._unwritten = 0
        self._log = log
        self._capacity = capacity
        self._callers: OrderedDict[str, str] = OrderedDict()

    async def __aenter__(self) -> "ExchangeLog":
        self._queue: asyncio.Queue[_Entry | None] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()
        self._writer = asyncio.create_task(self._write_all())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.put_nowait(None)
        await self._writer

    @property
    def depth(self) -> int:
        """How many exchanges are not written yet."""
        return self._unwritten

    async def room(self) -> None:
        """Returns when there is room for one more."""
        await self._room.wait()

    def put(self, exchange: Exchange) -> None:
        self._add(_Entry(exchange))

    async def store(self, exchange: Exchange) -> bool:
        """Like ``put``; returns when it is on disk, False if it could not be written."""
        return await self._through(exchange)

    async def settle(self) -> None:
        """Returns when everything that was put before is written."""
        await self._through(None)

    async def _through(self, exchange: Exchange | None) -> bool:
        stored: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._add(_Entry(exchange, stored))
        return await stored

    def _add(self, entry: _Entry) -> None:
        self._queue.put_nowait(entry)
        self._count(+1)

    def _count(self, more: int) -> None:
        self._unwritten += more
        if self._unwritten < self._capacity:
            self._room.set()
        else:
            self._room.clear()

    async def feedback(self, reference: str, verdict: str, note: str, owner: str) -> str:
        """Store a word on one of ``owner``'s interactions; returns its id. Raises UserError, StorageError."""
        await self.settle()
        assert verdict in ("good", "bad")
        return await asyncio.to_thread(self._log.feedback, reference, verdict, note, owner=owner)

    async def _write_all(self) -> None:
        ended = False
        while not ended:
            batch = [await self._queue.get()]
            while len(batch) < _BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            ended = batch[-1] is None
            entries = [entry for entry in batch if entry is not None]
            written = await asyncio.to_thread(lambda entries=entries: [self._write(e.exchange) for e in entries])
            self._count(-len(entries))
            for entry, stored in zip(entries, written, strict=True):
                if entry.stored is not None and not entry.stored.done():
                    entry.stored.set_result(stored)

    def _write(self, exchange: Exchange | None) -> bool:
        if exchange is None:
            return True
        try:
            trajectory = to_trajectory(exchange)
            identity = self._log.append(
                trajectory,
                session=exchange.session,
                source=SOURCE if exchange.chat else COMPLETIONS_SOURCE,
                tool_schemas=tool_schemas(exchange),
                owner=exchange.owner,
                tenant=exchange.tenant,
                reference=exchange.reference,
                continues=self._continues(trajectory),
            )
            self._remember(trajectory, identity)
        except Exception as error:  # noqa: BLE001 - one odd exchange, or a full disk, must not end the logging
            self.failures += 1
            print(f"an exchange was not logged: {error}", file=sys.stderr, flush=True)
            return False
        return True

    def _continues(self, trajectory: Trajectory) -> str:
        """The interaction with the newest of the calls that this one goes on from."""
        for message in reversed(trajectory.messages[:-1]):
            for call in reversed(message.tool_calls):
                if call.id in self._callers:
                    return self._callers[call.id]
        return ""

    def _remember(self, trajectory: Trajectory, identity: str) -> None:
        for call in trajectory.messages[-1].tool_calls:
            self._callers[call.id] = identity
        while len(self._callers) > _OPEN_CALLS:
            self._callers.popitem(last=False)
