"""The workshops on the nodes of a Ray cluster, while nodes come and go.

Ray starts their processes, carries orders and results, and notices what has died. A job is done by whoever has a place
free, which is for the crew to say.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from agent.cluster.actors import close_actors, kill_actor, start_actor, unusable, usable_nodes, without_nodes
from agent.cluster.config import ClusterConfig
from agent.cluster.connection import lines_of
from agent.cluster.installation import installed
from evolver.crew.remote_workshop import RemoteWorkshop, Sent
from toolkit.errors import UserError

Say = Callable[[str], None]
_OPENING_SECONDS = 300.0
_LOOK_SECONDS = 1.0
_CLOSING_SECONDS = 10.0
_MOST_FAILURES = 3
"""Workshops that may die while they are opened on one node, and orders that may raise there alone."""
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(eq=False)
class Place:
    """A workshop on a node. ``running`` counts its orders. ``opening`` is the reference to what RemoteWorkshop.open
    returns; None once it is open."""

    node: str
    address: str
    actor: Any
    opening: Any
    running: int = 0


class Nodes:
    """The workshops, at most ``config.workshops``, on the nodes of the cluster that this process is connected to.

    ``say`` gets a line for each node that is lost, and for each that joined and cannot be used.
    """

    def __init__(self, config: ClusterConfig, sent: Sent, say: Say) -> None:
        import ray

        self._config, self._say = config, say
        self._at_once = sent.setup.at_once
        self._gateway_url = sent.setup.gateway_url
        self._sent = ray.put(sent)
        self._places: dict[str, Place] = {}
        self._failures: dict[str, int] = {}
        self._next_look = 0.0

    @property
    def open_ones(self) -> list[Place]:
        """The workshops that take orders."""
        return [place for place in self._places.values() if place.opening is None]

    def open(self) -> None:
        """Open a workshop on every node. Raises UserError where there is none, and where one must not be used."""
        import ray

        self._hire()
        if not self._places:
            raise UserError(without_nodes(self._config.address))
        ray.wait([p.opening for p in self._places.values()], num_returns=len(self._places), timeout=_OPENING_SECONDS)
        for place in list(self._places.values()):
            ready, _ = ray.wait([place.opening], timeout=0)
            problem = self._opened(place) if ready else f"no answer within {_OPENING_SECONDS:.0f} seconds"
            if problem:
                raise UserError(unusable(place.address, problem))

    def look(self) -> None:
        """Take what has joined and drop what is gone; at most once a second."""
        import ray

        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_SECONDS
        self._hire()
        opening = {place.opening: place for place in self._places.values() if place.opening is not None}
        ready = ray.wait(list(opening), num_returns=len(opening), timeout=0)[0] if opening else []
        for reference in ready:
            place = opening[reference]
            if problem := self._opened(place):
                self._failures[place.node] = _MOST_FAILURES
                self._drop(place)
                self._say(f"node {place.address} joined the cluster and is not used: {problem}")

    def lose(self, place: Place) -> None:
        """Do without ``place``, whose process or node is gone; where only the process is, the node gets a new one."""
        if self._places.get(place.node) is place:
            self._drop(place)
            self._say(f"node {place.address} of the cluster lost its workshop; others do its orders again")

    def blame(self, place: Place, problem: str) -> None:
        """Note an order that raised on ``place`` and is tried elsewhere; the third time do without that node."""
        self._failures[place.node] = self._failures.get(place.node, 0) + 1
        if self._failures[place.node] < _MOST_FAILURES or self._places.get(place.node) is not place:
            self._say(f"node {place.address}: {problem}; another node does the order again")
            return
        self._drop(place)
        self._say(f"node {place.address} is not used any more, others do its orders again: {problem}")

    def close(self) -> None:
        """End the workshops."""
        close_actors([place.actor for place in self.open_ones], _CLOSING_SECONDS)
        for place in list(self._places.values()):
            self._drop(place)

    def _hire(self) -> None:
        """Begin to open a workshop on each node without one; drop those that died before they were open."""
        alive = {node["NodeID"]: node for node in usable_nodes()}
        for place in [place for place in self._places.values() if place.node not in alive]:
            self.lose(place)
        most = self._config.workshops or len(alive)
        wanted = [node for node in alive if self._failures.get(node, 0) < _MOST_FAILURES and node not in self._places]
        for node in wanted[: max(most - len(self._places), 0)]:
            self._places[node] = self._begun(node, alive[node]["NodeManagerAddress"])

    def _begun(self, node: str, address: str) -> Place:
        actor = start_actor(RemoteWorkshop, threads=self._at_once, node=node)
        return Place(node, address, actor, actor.open.remote(installed(), self._gateway_for(address), [self._sent]))

    def _gateway_for(self, address: str) -> str:
        """Return the URL of the gateway on a node: one on loopback leads, on another machine, to that machine."""
        from ray.util import get_node_ip_address

        parts, here = urlsplit(self._gateway_url), get_node_ip_address()
        if self._config.gateway or address == here or parts.hostname not in _LOOPBACK:
            return self._config.gateway or self._gateway_url
        host = f"[{here}]" if ":" in here else here
        return urlunsplit(parts._replace(netloc=f"{host}:{parts.port}"))

    def _opened(self, place: Place) -> str:
        """Take ``place`` into use; return the reason where it cannot be used. One that died is dropped."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        try:
            problem: Any = ray.get(place.opening)
        except RayTaskError as error:
            return lines_of(error.cause)[-1]
        except RayError as error:
            self._failures[place.node] = self._failures.get(place.node, 0) + 1
            if self._failures[place.node] == _MOST_FAILURES:
                return f"its workshops die while they are opened ({lines_of(error)[0]})"
            self._drop(place)
            return ""
        if not problem:
            place.opening = None
        return problem

    def _drop(self, place: Place) -> None:
        self._places.pop(place.node, None)
        kill_actor(place.actor)


class TooFewNodes(UserError):
    """The cluster has fewer nodes than ``[cluster] training_nodes``."""

    def __init__(self, config: ClusterConfig, found: int, having: str = "with a CPU") -> None:
        super().__init__(
            f"the Ray cluster at {config.address} has {found} of the {config.training_nodes} nodes {having} that "
            "[cluster] training_nodes asks for; start more with: ray start --address=HOST:PORT"
        )


def check_training_nodes(config: ClusterConfig) -> None:
    """Raise TooFewNodes unless there are as many nodes as are to train together."""
    if (found := len(usable_nodes())) < config.training_nodes:
        raise TooFewNodes(config, found)
