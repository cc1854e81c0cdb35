"""A running gateway for all tests of one module; one in shadow mode for each test."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from agent.adapters import required
from agent.serving.gateway.access import api_keys
from tests.fakes.gateway_door import Door
from tests.fakes.model_gateway import running_gateway
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.shadow_world import World, world


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    data = tmp_path_factory.mktemp("data")
    with (
        ModelServer(script=lambda _: Says("hello")) as server,
        running_gateway(data, server) as (gateway, url),
        httpx.Client(base_url=url, trust_env=False, timeout=60) as client,
    ):
        yield Door(gateway, server, client, data)


@pytest.fixture
def door(running: Door) -> Door:
    for kept in (running.server.requests, running.server.headers, running.server.paths):
        kept.clear()
    for file in (required.path(running.data), api_keys.path(running.data), *running.data.glob("active_adapter*")):
        file.unlink(missing_ok=True)
    running.server.models = ["base"]
    running.server._script = lambda _: Says("hello")
    return running


@pytest.fixture
def place(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made
