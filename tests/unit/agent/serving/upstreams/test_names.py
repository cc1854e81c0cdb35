"""Names with several addresses: one server for each, and those that stay are not disturbed."""

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agent.config import UpstreamConfig
from agent.http.address import at_each_address
from agent.serving.upstreams.connection import Upstream
from agent.serving.upstreams.names import Named, NamedUpstreams
from agent.serving.upstreams.pool import UpstreamPool

PODS, OTHER = Upstream("http://pods:8000", "key"), Upstream("http://other:9000", "")


class Names:
    """A name server. ``pods`` are the addresses of the one name that it knows; None: it does not answer."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.pods: Sequence[str] | None = ("10.0.0.2", "10.0.0.1")
        patch.setattr(socket, "getaddrinfo", self.look_up)

    def look_up(self, host: str, port: int, **_: object) -> list[Any]:
        assert (host, port) == ("pods", 8000)
        if self.pods is None:
            raise socket.gaierror(-3, "Temporary failure in name resolution")
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
            for one in self.pods
        ]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


def urls(found: Sequence[Upstream]) -> list[str]:
    return [upstream.url for upstream in found]


def test_there_is_a_server_at_each_address_in_an_order_that_stays(names: Names) -> None:
    assert at_each_address("http://pods:8000/v") == ["http://10.0.0.1:8000/v", "http://10.0.0.2:8000/v"]
    names.pods = ["fd00::2", "10.0.0.1"]
    assert at_each_address("http://pods:8000") == ["http://10.0.0.1:8000"], "one server may have both"
    names.pods = ["fd00::2", "fd00::1"]
    assert at_each_address("http://pods:8000") == ["http://[fd00::1]:8000", "http://[fd00::2]:8000"]


def test_servers_that_stay_keep_their_state_and_new_ones_wait_for_their_adapters(names: Names, tmp_path: Path) -> None:
    pool = UpstreamPool(tmp_path, lambda line: None)
    watched = NamedUpstreams([Named(OTHER, False), Named(PODS, True)], pool, lambda line: None)
    pool.replace(watched.find())
    other, first, second = pool.members
    assert urls([member.upstream for member in pool.members]) == [
        OTHER.url,
        "http://10.0.0.1:8000",
        "http://10.0.0.2:8000",
    ]
    first.in_flight = 3
    steps = [("10.0.0.1", "10.0.0.3"), ("10.0.0.3", "10.0.0.1"), None]
    seen: list[tuple[Any, ...]] = []

    async def sleep(_: float) -> None:
        seen.append(pool.members)
        if not steps:
            raise asyncio.CancelledError
        names.pods = steps.pop(0)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(watched.watch(sleep=sleep))
    assert seen[0] == (other, first, second)
    assert seen[1][:2] == (other, first), "they were not there anew"
    assert (seen[1][2].upstream.url, seen[1][2].ready, seen[1][2].upstream.key) == (
        "http://10.0.0.3:8000",
        False,
        "key",
    )
    assert seen[2] is seen[1], "the same addresses in another order"
    assert seen[3] is seen[1], "the name server does not answer"


def test_a_name_that_cannot_be_looked_up_is_said_once(names: Names, tmp_path: Path) -> None:
    said: list[str] = []
    watched = NamedUpstreams([Named(PODS, True)], UpstreamPool(tmp_path, said.append), said.append)
    names.pods = None
    assert [watched.find(), watched.find()] == [[PODS], [PODS]]
    assert len(said) == 1
    assert said[0].startswith("http://pods:8000: the name cannot be looked up")
    names.pods = ["10.0.0.1"]
    assert urls(watched.find()) == ["http://10.0.0.1:8000"]
    names.pods = None
    assert urls(watched.find()) == ["http://10.0.0.1:8000"]
    assert len(said) == 2


@pytest.mark.parametrize("url", ["https://pods", "unix:/run/vllm.sock"])
def test_only_plain_http_has_a_server_at_each_address(url: str) -> None:
    with pytest.raises(ValidationError, match="each_address needs a url that begins with http://"):
        UpstreamConfig(url=url, each_address=True)
