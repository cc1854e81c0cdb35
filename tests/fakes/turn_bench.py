"""An agent of a few tools before a scripted model."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from agent.config import LoopConfig, PromptConfig
from agent.turn.loop import Agent
from agent.turn.messages import Trajectory
from agent.turn.model_client import HttpModelClient
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.model_tools import AllTools, InProcess
from toolkit.tool import ToolErrorKind

ADD_1_2 = ("add", '{"a": 1, "b": 2}')


class Bench:
    """An agent, the server that it asks and the executor that it uses."""

    def __init__(self, server: ModelServer, client: HttpModelClient, clock: Callable[[], float], **limits: Any) -> None:
        self.server = server
        self.executor = InProcess()
        self.agent = Agent(client, self.executor, AllTools(), LoopConfig(**limits), PromptConfig(), clock=clock)


@contextmanager
def bench(
    *replies: Says, script: Any = None, clock: Callable[[], float] | None = None, **limits: Any
) -> Iterator[Bench]:
    with ModelServer(*replies, script=script) as server, HttpModelClient(server.url) as client:
        yield Bench(server, client, clock or (lambda: 0.0), **limits)


def errors(trajectory: Trajectory) -> list[ToolErrorKind | None]:
    return [result.error.kind if result.error else None for result in trajectory.results]
