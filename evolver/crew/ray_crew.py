"""A crew of workshops on the nodes of a Ray cluster."""

import hashlib
import pickle
import time
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from agent.cluster.config import ClusterConfig
from agent.cluster.connection import connected, lines_of
from agent.cluster.installation import tool_hashes
from evolver.crew.crew import Order
from evolver.crew.ray_nodes import Nodes, Place, Say, check_training_nodes
from evolver.crew.remote_workshop import MadeTools, Sent
from evolver.crew.setup import Setup
from evolver.crew.workshop import Record, Workshop
from evolver.errors import StageError
from toolkit.errors import UserError
from toolkit.made import MadeTool, read_approved

R = TypeVar("R")
_WAIT_SECONDS = 0.5
_PATIENCE_SECONDS = 60.0
"""Time without any workshop after which a stage is given up."""
_MOST_DEATHS = 3
"""Workshops that may die over one order."""


@dataclass(frozen=True)
class _Tools:
    """Tools beside those of the configuration. Workshops know them by ``key``, and fetch them by ``reference``."""

    made: MadeTools = ()
    key: str = ""
    reference: Any = None

    def and_also(self, made: tuple[MadeTool, ...], kind: str) -> "_Tools":
        import ray

        all_made = (*self.made, (made, kind))
        return _Tools(all_made, hashlib.sha256(pickle.dumps(all_made)).hexdigest(), ray.put(all_made))


@dataclass(frozen=True)
class RayCrew:
    """Carries out at most ``at_once`` orders at a time in each of the workshops of ``nodes``. See Crew.

    The orders of a workshop that dies are given to others; an order may so be carried out twice, its result arrives
    once. One that raises is tried once more on another node, for it may be the node that is broken. ``record`` gets the
    requests to the model of each order whose result arrives.
    """

    here: Workshop
    at_once: int
    nodes: Nodes
    record: Record
    tools: _Tools = _Tools()

    def each(self, orders: Iterable[Order[R]]) -> Generator[tuple[int, R]]:
        """See Crew. Raises StageError where three workshops died over one order, UserError where no node is left, and
        what an order raises on two nodes, or on the only one."""
        work = _Work(self, iter(orders))
        try:
            while work.give():
                yield from work.ended()
        finally:
            work.wait()

    def limited(self, at_once: int) -> "RayCrew":
        """See Crew."""
        return replace(self, at_once=at_once)

    def with_tools(self, made: Iterable[MadeTool], kind: str) -> "RayCrew":
        """See Crew."""
        if not (made := tuple(made)):
            return self
        return replace(self, here=self.here.with_tools(made, kind), tools=self.tools.and_also(made, kind))


class _Work:
    """The orders of one stage: not yet taken, under way, and to be given again."""

    def __init__(self, crew: RayCrew, orders: Iterator[Order[Any]]) -> None:
        self._crew = crew
        self._waiting = enumerate(orders)
        self._again: deque[tuple[int, Order[Any]]] = deque()
        self._running: dict[Any, tuple[int, Order[Any], Place]] = {}
        self._deaths: Counter[int] = Counter()
        self._raised: dict[int, tuple[str, BaseException]] = {}
        """By order: the node on which it raised, and what."""
        self._alone_since: float | None = None

    def give(self) -> bool:
        """Give orders to whoever has a place free; return whether any is still to be done."""
        self._crew.nodes.look()
        while self._give_one():
            pass
        if not (self._running or self._again):
            if self._crew.nodes.open_ones:
                return False
            taken = next(self._waiting, None)  # nobody is free to begin it: there may be nothing left to wait for
            if taken is None:
                return False
            self._again.append(taken)
        self._check_patience()
        self._check_others()
        return True

    def ended(self) -> Iterator[tuple[int, Any]]:
        """Wait a moment, and yield number and result of each order that has ended."""
        if not self._running:  # no workshop is open
            time.sleep(_WAIT_SECONDS)
            return
        import ray
        from ray.exceptions import RayError, RayTaskError

        if not ray.wait(list(self._running), timeout=_WAIT_SECONDS)[0]:
            return
        for reference in ray.wait(list(self._running), num_returns=len(self._running), timeout=0)[0]:
            number, order, place = self._running.pop(reference)
            place.running -= 1
            try:
                result, recorded = ray.get(reference)
            except RayTaskError as error:
                self._failed(number, order, place, error.cause)
                continue
            except RayError as error:
                self._lost(number, order, place, error)
                continue
            for request in recorded:
                self._crew.record(*request)
            yield number, result

    def wait(self) -> None:
        """Wait for what is under way."""
        if not self._running:
            return
        import ray

        ray.wait(list(self._running), num_returns=len(self._running))
        for *_, place in self._running.values():
            place.running -= 1

    def _give_one(self) -> bool:
        """Give an order to the workshop with the fewest that takes one; return whether there was one."""
        for place in sorted(self._crew.nodes.open_ones, key=lambda place: place.running):
            if place.running < self._crew.at_once and (taken := self._next(place)) is not None:
                self._begin(*taken, place)
                return True
        return False

    def _next(self, place: Place) -> tuple[int, Order[Any]] | None:
        """Take the next order that did not raise on the node of ``place``."""
        for again in self._again:
            if self._raised.get(again[0], ("",))[0] != place.node:
                self._again.remove(again)
                return again
        return next(self._waiting, None)

    def _begin(self, number: int, order: Order[Any], place: Place) -> None:
        tools = self._crew.tools
        reference = place.actor.do.remote(order, tools.key, [tools.reference])
        self._running[reference] = number, order, place
        place.running += 1

    def _failed(self, number: int, order: Order[Any], place: Place, error: BaseException) -> None:
        """Let another node try an order once. Raises ``error`` where it was tried before, or there is no other."""
        others = [other for other in self._crew.nodes.open_ones if other.node != place.node]
        if number in self._raised or not others:
            raise _from(place, error) from None
        self._crew.nodes.blame(place, lines_of(error)[0])
        self._raised[number] = place.node, _from(place, error)
        self._again.append((number, order))

    def _lost(self, number: int, order: Order[Any], place: Place, error: Exception) -> None:
        self._crew.nodes.lose(place)
        self._deaths[number] += 1
        if self._deaths[number] == _MOST_DEATHS:
            raise StageError(f"{_MOST_DEATHS} workshops died over one order: {lines_of(error)[0]}")
        self._again.append((number, order))

    def _check_others(self) -> None:
        """Raise what an order raised that waits for another node, where there is none any more."""
        nodes = {place.node for place in self._crew.nodes.open_ones}
        for number, _ in self._again:
            node, error = self._raised.get(number, ("", None))
            if error is not None and nodes == {node}:
                raise error

    def _check_patience(self) -> None:
        if self._crew.nodes.open_ones:
            self._alone_since = None
            return
        self._alone_since = self._alone_since or time.monotonic()
        if time.monotonic() - self._alone_since > _PATIENCE_SECONDS:
            raise UserError("no node of the cluster is left; start one, then go on with: evolver cycle")


def _from(place: Place, error: BaseException) -> BaseException:
    """Return ``error`` with the address of its node in the message."""
    if error.args and isinstance(error.args[0], str):
        error.args = (f"node {place.address}: {error}", *error.args[1:])
    else:
        error.add_note(f"It happened on node {place.address}.")
    return error


@contextmanager
def open_ray_crew(setup: Setup, config: ClusterConfig, here: Workshop, record: Record, say: Say) -> Iterator[RayCrew]:
    """Open a workshop on every node; ``here`` is that of this process. Raises as ``connected``, Nodes.open and
    check_training_nodes do."""
    approved = tuple(read_approved(setup.toolkit.tools.approved))
    sent = Sent(setup, approved, tool_hashes(here.executor.registry, setup.toolkit))
    with connected(config.address):
        check_training_nodes(config)
        nodes = Nodes(config, sent, say)
        try:
            nodes.open()
            yield RayCrew(here, setup.at_once, nodes, record)
        finally:
            nodes.close()
