"""Writes the gateway's exchanges to the interaction log, apart from answering."""

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple

from agent.errors import CommitUnknown, ConnectionLost, DatabaseUnavailable
from agent.log.entries import COMPLETIONS_SOURCE, GATEWAY_SOURCE, Entry
from agent.log.interaction_log import InteractionLog
from agent.serving.gateway.capture import Exchange, to_trajectory, tool_schemas
from agent.serving.gateway.turn_affinity import OpenTurns
from agent.turn.messages import Interaction, Trajectory

_BATCH = 64
_DRAIN_SECONDS = 20.0
"""The time after which a writer that is to end begins no further transaction."""


@dataclass
class _Entry:
    """``exchange`` None: nothing to write. ``stored`` hears when all up to here is written, and whether this was."""

    exchange: Exchange | None
    stored: "asyncio.Future[bool] | None" = None


class _Turn(NamedTuple):
    exchange: Exchange
    trajectory: Trajectory
    entry: Entry


class CaptureLog:
    """A bounded queue in front of an InteractionLog; use it in an ``async with``, which ends when all is written.

    Where the database is gone or slow at the end, the rest is not written, and the number of it is said.
    Handing something in never waits, so that no answer does; ``room`` makes new requests wait while ``capacity``
    exchanges are not written yet. ``failures`` counts what could not be written.
    """

    def __init__(self, log: InteractionLog, *, capacity: int = 1024) -> None:
        self.failures = 0
        self._unwritten = self._given_up = 0
        self._unavailable = False
        self._ends_at: float | None = None
        self._log = log
        self._capacity = capacity
        self._turns: OpenTurns[str] = OpenTurns()

    async def __aenter__(self) -> "CaptureLog":
        self._queue: asyncio.Queue[_Entry | None] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()
        self._writer = asyncio.create_task(self._write_all())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends_at = time.monotonic() + _DRAIN_SECONDS
        self._queue.put_nowait(None)
        await self._writer
        if self._given_up:
            _say("the database did not take them before the end", self._given_up)

    @property
    def depth(self) -> int:
        """Exchanges that are not written yet."""
        return self._unwritten

    async def room(self) -> None:
        """Wait until there is room for one more."""
        await self._room.wait()

    def put(self, exchange: Exchange) -> None:
        self._add(_Entry(exchange))

    async def store(self, exchange: Exchange) -> bool:
        """Write an exchange and wait until it is on disk; return False if it could not be written."""
        return await self._through(exchange)

    async def settle(self) -> None:
        """Wait until everything that was put before is written."""
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

    async def feedback(self, reference: str, verdict: str, note: str, owner: str, *, expected: str = "") -> str:
        """Store a word on one of ``owner``'s interactions; return its id. Raises UserError, StorageError."""
        await self.settle()
        assert verdict in ("good", "bad")
        return await asyncio.to_thread(self._log.feedback, reference, verdict, note, expected=expected, owner=owner)

    async def of_reference(self, reference: str, owner: str) -> Interaction | None:
        """Return ``owner``'s newest interaction with this answer, once all that was put before is written."""
        await self.settle()
        return await asyncio.to_thread(self._log.of_reference, reference, owner=owner)

    async def _write_all(self) -> None:
        ended = False
        while not ended:
            batch = [await self._queue.get()]
            while len(batch) < _BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            ended = batch[-1] is None
            entries = [entry for entry in batch if entry is not None]
            written = await asyncio.to_thread(self._write, [entry.exchange for entry in entries])
            self._count(-len(entries))
            for entry, stored in zip(entries, written, strict=True):
                if entry.stored is not None and not entry.stored.done():
                    entry.stored.set_result(stored)

    def _write(self, exchanges: Sequence[Exchange | None]) -> list[bool]:
        """Store the exchanges and return which of them are on disk; None counts as stored."""
        prepared = [None if exchange is None else self._prepare(exchange) for exchange in exchanges]
        turns = [turn for turn in prepared if turn is not None]
        stored = set(map(id, self._append(turns))) if turns else set()
        self.failures += len(turns) - len(stored)
        return [exchange is None or id(turn) in stored for exchange, turn in zip(exchanges, prepared, strict=True)]

    def _prepare(self, exchange: Exchange) -> _Turn | None:
        try:
            trajectory = to_trajectory(exchange)
            entry = self._log.entry(
                trajectory,
                session=exchange.session,
                source=GATEWAY_SOURCE if exchange.chat else COMPLETIONS_SOURCE,
                tool_schemas=tool_schemas(exchange),
                owner=exchange.owner,
                tenant=exchange.tenant,
                reference=exchange.reference,
                traceparent=exchange.traceparent,
            )
        except Exception as error:  # noqa: BLE001 - one odd exchange must not end the logging
            self.failures += 1
            _say(error, 1)
            return None
        return _Turn(exchange, trajectory, entry)

    def _append(self, turns: Sequence[_Turn]) -> Sequence[_Turn]:
        """Store the turns in one transaction and return those that are on disk.

        Where the transaction fails by what is in them, each gets one of its own: what cannot be stored takes no other
        with it. Where the database is at fault, they are not tried again: it was waited for, or may have them.
        """
        if self._ends_at is not None and (self._unavailable or time.monotonic() > self._ends_at):
            self._given_up += len(turns)
            return self._without(turns)
        try:
            try:
                self._add_all(turns)
            except ConnectionLost:  # its server comes back
                self._add_all(turns)
        except (CommitUnknown, ConnectionLost, DatabaseUnavailable) as error:
            self._unavailable = True
            _say(error, len(turns))
            return self._without(turns)
        except Exception as error:  # noqa: BLE001 - a full disk must not end the logging
            self._without(turns)
            if len(turns) > 1:
                return [stored for turn in turns for stored in self._append([turn])]
            _say(error, 1)
            return []
        self._unavailable = False
        return turns

    def _without(self, turns: Sequence[_Turn]) -> Sequence[_Turn]:
        """Let nobody continue the turns: the ids that they had name nothing in the log. Return none."""
        for turn in turns:
            self._remember(turn, "")
        return []

    def _add_all(self, turns: Sequence[_Turn]) -> None:
        with self._log.batch() as add:
            for turn in turns:
                self._remember(turn, add(turn.entry, self._continues(turn.exchange, turn.trajectory)))

    def _remember(self, turn: _Turn, identity: str) -> None:
        calls = (call.id for call in turn.trajectory.messages[-1].tool_calls)
        self._turns.remember(turn.exchange.whose, calls, turn.exchange.turn, identity)

    def _continues(self, exchange: Exchange, trajectory: Trajectory) -> str:
        """Return the interaction with the newest of the calls that this one goes on from; "" for none."""
        calls = [call.id for message in trajectory.messages[:-1] for call in message.tool_calls]
        return self._turns.find(exchange.whose, reversed(calls), lambda: exchange.turn) or "" if calls else ""


def _say(problem: object, count: int) -> None:
    who = "an exchange was" if count == 1 else f"{count} exchanges were"
    print(f"{who} not logged: {problem}", file=sys.stderr, flush=True)
