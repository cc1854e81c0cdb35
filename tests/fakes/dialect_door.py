"""A gateway for clients of every protocol: the scripted model behind it, the log, the agent with its own tools."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from agent.log.interaction_log import InteractionLog
from agent.serving.gateway.app import Gateway
from agent.turn.messages import Interaction
from tests.fakes.agent_gateway import Tooled, running_agent
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.waiting import wait_until


class DialectDoor:
    """``says`` sets what the model answers next; ``asked`` is what it was asked since then."""

    def __init__(self, gateway: Gateway, url: str, server: ModelServer, log: InteractionLog, tools: Tooled) -> None:
        self.gateway, self.url, self.server, self.log, self.tools = gateway, url, server, log, tools
        self.client = httpx.Client(base_url=url, trust_env=False, timeout=60)
        self._seen = 0

    def says(self, *replies: Says) -> None:
        self.server.requests.clear()
        self.server.headers.clear()
        self.server._replies = list(replies)
        wait_until(self._idle)
        self._seen = self.log.count()[0]

    def _idle(self) -> bool:
        """Whether nothing of an earlier test is still being answered or written."""
        lines = self.client.get("/metrics").text.splitlines()
        return {"apprentice_requests_in_flight 0.0", "apprentice_log_queue_depth 0.0"} <= set(lines)

    @property
    def asked(self) -> list[dict[str, object]]:
        return self.server.requests

    def logged(self, count: int) -> list[Interaction]:
        """The interactions since ``says``, once there are ``count``: the log is written beside answering."""
        wait_until(lambda: self.log.count()[0] >= self._seen + count)
        return self.log.read()[self._seen :]


@contextmanager
def dialect_door(data: Path) -> Iterator[DialectDoor]:
    with (
        ModelServer() as server,
        InteractionLog(data / "interactions.db") as log,
        running_agent(data, server, log) as (gateway, url, tools),
    ):
        door = DialectDoor(gateway, url, server, log, tools)
        with door.client:
            yield door
