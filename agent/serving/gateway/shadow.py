"""Shadow mode at the gateway: another server answers people, apprentice answers beside it, unseen.

Our answer never holds theirs up: it is asked for at the same time, only while fewer than ``max_in_flight`` are under
way, and compared in a thread. What was found waits for the database in a queue of its own. Where people, or what was
measured, let us answer the calls of a tool, we are asked first about requests that offer it; the other server is asked
where we call no such tool.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from agent.config import ShadowConfig
from agent.errors import AdapterError, ModelError
from agent.serving.gateway.capture import Exchange, latest_results, to_trajectory
from agent.serving.gateway.event_stream import LEFT, Left, while_connected
from agent.serving.gateway.model_routing import ALIAS, CachedFile, RoutedModel
from agent.serving.gateway.proxy import NO_LOG, Lease, ModelRequest, Proxy
from agent.serving.gateway.shadow_log import ShadowLog
from agent.serving.gateway.shadow_results import Results
from agent.serving.shadow import switches
from agent.serving.shadow.agreement import Comparison, compare
from agent.serving.shadow.agreement_log import AgreementLog
from agent.serving.upstreams.connection import LOST, Upstream
from agent.serving.upstreams.pool import Member, UpstreamPool
from agent.turn.messages import UPSTREAM, is_foreign
from toolkit.tool import ToolCall

_OUR_SECONDS = 120.0
"""Time that our answer may take."""
_THEIR_SECONDS = 600.0
"""Time for which our answer waits for theirs, to be compared."""


@dataclass(frozen=True)
class Beside:
    """A chat request as it would be sent to the other server, and to ours."""

    theirs: ModelRequest
    ours: ModelRequest
    body: dict[str, Any]
    owner: str

    @property
    def offered(self) -> frozenset[str]:
        """The names of the client's tools."""
        return frozenset(tool["function"]["name"] for tool in self.body.get("tools") or ())


class _OnlyServer(UpstreamPool):
    """One server of others, which is asked however often it failed: nobody else could answer."""

    def failed(self, member: Member, trouble: str) -> None:
        if trouble != member.trouble:
            self._say(f"{member.upstream.url}: {trouble}")
        member.trouble = trouble


class Shadow:
    """``main`` passes requests to our own servers. ``compared``, ``dropped`` and ``failed`` count our answers: those
    that were compared, were not asked for because others were under way, and came to nothing. ``log`` stores what was
    found."""

    def __init__(
        self,
        config: ShadowConfig,
        upstream: Upstream,
        data_folder: Path,
        main: Proxy,
        agreements: AgreementLog,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.model = RoutedModel(f"{UPSTREAM}{config.model}")
        self.compared = self.dropped = self.failed = 0
        pool = _OnlyServer(data_folder, say)
        pool.replace([upstream])
        self._config, self._data_folder, self._agreements = config, data_folder, agreements
        self._main = main
        self._upstream = main.behind(pool, f"{upstream.url} cannot be reached; try again, or look at: agent serve")
        self._say = say
        self._asking = self._looking = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._results = Results()
        self.log = ShadowLog(say)
        self._file = CachedFile()
        self._measured: dict[str, frozenset[str]] = {}
        self._measuring: set[str] = set()
        gauge = main.metrics.gauge
        gauge("apprentice_shadow_compared", "Our answers that were compared.", lambda: self.compared)
        gauge("apprentice_shadow_dropped", "Our answers that were not asked for: busy.", lambda: self.dropped)
        gauge("apprentice_shadow_failed", "Our answers that came to nothing.", lambda: self.failed)
        gauge("apprentice_shadow_not_stored", "Comparisons and results that the database refused.", self._not_stored)

    def takes(self, asked: str) -> bool:
        """Return whether a request for the model ``asked`` is one that the other server answers."""
        return asked in (ALIAS, self._config.model)

    async def answer(self, request: Request, asked: Beside) -> Response:
        """Answer a request of a client whose body was read. Raises HttpError where no server answers."""
        messages = asked.body["messages"]
        if latest_results(messages):
            begun_by = self._main.turns.adapter(messages, asked.ours.owner, asked.ours.turn)
            ours = begun_by is not None and not is_foreign(begun_by)
            self._main.metrics.results_sent(messages, asked.ours.model.name if ours else self.model.name)
            self._look_at_results(asked)
            return await (self._main.answer(request, asked.ours) if ours else self._answer_theirs(request, asked))
        offered, switched = asked.offered, self._switched(asked)
        if offered and offered == switched:
            return await self._main.answer(request, asked.ours)
        return await (self._answer_first(request, asked, switched) if switched else self._answer_theirs(request, asked))

    async def close(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.log.close()

    async def _answer_theirs(
        self, request: Request, asked: Beside, known: asyncio.Future[Exchange | None] | None = None
    ) -> Response:
        """Let the other server answer, and compare our answer with it; ``known`` if that was asked for before."""
        if asked.theirs.log == NO_LOG or (known is None and not self._has_room()):
            return await self._upstream.answer(request, asked.theirs)
        came: asyncio.Future[Exchange] = asyncio.get_running_loop().create_future()

        def exchange(content: bytes, latency_ms: float) -> Exchange:
            theirs = asked.theirs.exchange(content, latency_ms)
            if not came.done():
                came.set_result(theirs)
            return theirs

        ours = known or asyncio.ensure_future(self._ask(asked))
        self._begin(self._compare(asked, ours, came))
        is_under_way = False
        try:
            response = await self._upstream.answer(request, replace(asked.theirs, exchange=exchange))
            is_under_way = not response.body  # a stream; the rest has ended
            return response
        finally:
            if not is_under_way:
                came.cancel()  # no more than where it has come

    async def _answer_first(self, request: Request, asked: Beside, switched: frozenset[str]) -> Response:
        """Answer ourselves if we call tools that were switched and no other, else let the other server answer."""
        if not self._has_room():
            return await self._upstream.answer(request, asked.theirs)
        try:
            exchange = await while_connected(request, self._ask(asked))
        except Left:
            await self._main.finish(asked.ours, LEFT)
            return Response(status_code=LEFT)
        calls = await asyncio.to_thread(_calls, exchange) if exchange is not None else None
        if exchange is not None and calls and all(call.name in switched for call in calls):
            return await self._main.deliver(asked.ours, exchange.response, streamed=exchange.streamed)
        known: asyncio.Future[Exchange | None] = asyncio.get_running_loop().create_future()
        known.set_result(exchange)
        return await self._answer_theirs(request, asked, known)

    def _has_room(self) -> bool:
        if self._asking < self._config.max_in_flight:
            return True
        self.dropped += 1
        return False

    async def _ask(self, asked: Beside) -> Exchange | None:
        """Ask our own server; None, and counted as failed, if it gives no answer."""
        member = self._main.pool.pick()
        if member is None:
            self.failed += 1
            return None
        started, lease = time.monotonic(), Lease(member)
        self._asking += 1
        try:
            answer = lease.answer = await self._main.connections.send(
                member.upstream, "POST", asked.ours.path, asked.ours.content, seconds=_OUR_SECONDS
            )
            content = await answer.read()
            if answer.status == 200:
                return asked.ours.exchange(content, (time.monotonic() - started) * 1000)
        except LOST:
            pass
        finally:
            self._asking -= 1
            lease.close()
        self.failed += 1
        return None

    async def _compare(
        self, asked: Beside, asking: asyncio.Future[Exchange | None], came: asyncio.Future[Exchange]
    ) -> None:
        try:
            ours = await asking
            async with asyncio.timeout(_THEIR_SECONDS):
                theirs = await came
        except TimeoutError:
            return  # their answer failed, or the client left
        finally:
            asking.cancel()
        if ours is not None:
            found = await asyncio.to_thread(_compared, ours, theirs)
            if found is None:
                self.failed += 1
            else:
                self.log.put(partial(self._store, asked.owner, asked.ours.model.name, found))

    def _store(self, owner: str, adapter: str, found: list[Comparison]) -> None:
        numbers = self._agreements.add(found, adapter=adapter, upstream=self._config.model)
        for number, comparison in zip(numbers, found, strict=True):
            self._results.wait_for(owner, number, comparison)
        self._measure(adapter)
        self.compared += 1

    def _look_at_results(self, asked: Beside) -> None:
        """Compare results where the client sends some, and not while enough of it waits."""
        if self._looking >= self._config.max_in_flight or asked.theirs.log == NO_LOG:
            return
        self._looking += 1
        self.log.put(partial(self._note_results, asked), self._looked)

    def _looked(self) -> None:
        self._looking -= 1

    def _note_results(self, asked: Beside) -> None:
        try:
            decided = self._results.seen(asked.owner, asked.body["messages"])
        except (KeyError, TypeError, AttributeError) as error:
            self._say(f"results were not compared: {error!r}")
            return
        for number, same in decided:
            self._agreements.note_result(number, same=same)
        if decided:
            self._measure(asked.ours.model.name)

    def _not_stored(self) -> int:
        return self.log.failed + self.log.dropped

    def _switched(self, asked: Beside) -> frozenset[str]:
        """Return the offered tools whose calls we answer; none where the choices cannot be read.

        What was measured of an adapter is read beside answering: its first requests are the other server's.
        """
        adapter = asked.ours.model.name
        if self._config.switch_automatically and not {adapter} & (self._measured.keys() | self._measuring):
            self._measuring.add(adapter)
            self.log.put(partial(self._measure, adapter), partial(self._measuring.discard, adapter))
        file = switches.path(self._data_folder)
        try:
            chosen = self._file.get(file, lambda: switches.read(self._data_folder))
        except AdapterError as error:
            self._say(str(error))
            return frozenset()
        measured = self._measured.get(adapter, frozenset())
        return frozenset(tool for tool in asked.offered if switches.answers(chosen, measured, tool) == "ours")

    def _measure(self, adapter: str) -> None:
        if self._config.switch_automatically:
            agreements = self._agreements.agreements([adapter])
            self._measured[adapter] = switches.measured(self._config, agreements, adapter)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _calls(exchange: Exchange) -> tuple[ToolCall, ...] | None:
    """Return the calls of an answer; None if it is none."""
    try:
        return to_trajectory(exchange).messages[-1].tool_calls
    except (ModelError, ValueError):
        return None


def _compared(ours: Exchange, theirs: Exchange) -> list[Comparison] | None:
    """Compare two answers; None if one of them is none."""
    our_calls, their_calls = _calls(ours), _calls(theirs)
    return None if our_calls is None or their_calls is None else compare(their_calls, our_calls)
