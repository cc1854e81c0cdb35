"""Two machines that share a database; three model servers."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent.serving.upstreams import follow
from tests.fakes import pool_world
from tests.fakes.follow_world import KEY, Machines
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.postgres import PostgresServer


@pytest.fixture
def machines(tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    """What fails is tried again with the next look."""
    monkeypatch.setattr(follow, "_AGAIN_SECONDS", 0.0)
    with ExitStack() as stack:
        server = stack.enter_context(ModelServer(key=KEY))
        yield Machines(tmp_path, postgres.database(), server, stack)


@pytest.fixture
def servers() -> Iterator[list[ModelServer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(ModelServer(script=lambda _: Says("hi"), key=pool_world.KEY)) for _ in range(3)]
