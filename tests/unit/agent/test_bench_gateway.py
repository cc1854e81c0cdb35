"""The benchmark of the gateway runs: against its stub's protocol, and against a model server both ways."""

import asyncio
import time
from pathlib import Path

import httpx
import pytest

from agent.config import GatewayConfig
from benchmarks import gateway as bench
from benchmarks.gateway_stub import Stub
from tests.fakes.model_gateway import KEY, running_gateway
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.waiting import wait_until

ASKED = httpx.Request("GET", "http://127.0.0.1:9")


@pytest.mark.parametrize("stream", [False, True])
def test_the_stub_is_heard_whole(stream: bool) -> None:
    async def run() -> bench.Asked:
        server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            return await bench.ask(url, "", streams=3, count=7, stream=stream, tokens=5)

    asked = bench.uvloop.run(run())  # the loop that it runs in
    assert (len(asked.whole), len(asked.first), asked.tokens) == (7, 7, 35)
    assert all(0 < first <= whole for first, whole in zip(asked.first, asked.whole, strict=True))


def test_both_ways_are_asked_the_same_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (
        ModelServer(script=lambda _: Says("Paris.")) as server,
        running_gateway(tmp_path, server, config=GatewayConfig(requests_per_minute=0)) as (_, url),
    ):
        direct, through = (server.url, KEY), (url, "")
        bench.compare_throughput(direct, through, 2, 4)
        bench.compare_latency(direct, through, 3)
    asked = [request["messages"][0]["content"] for request in server.requests]
    assert all(asked.count(text) % 2 == 0 for text in asked)
    assert len(asked) == 2 * (3 * 4 + 5)
    said = capsys.readouterr().out
    assert "4 streams, 2 rounds each way" in said
    assert "median until the end" in said and "median until the first piece" in said


def test_an_open_dashboard_is_loaded_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "RELOAD_SECONDS", 0.01)
    seen: list[str] = []
    monkeypatch.setattr(httpx.Client, "get", lambda _, page: seen.append(page) or httpx.Response(200, request=ASKED))
    with bench.dashboard_open("http://127.0.0.1:9"):
        wait_until(lambda: len(seen) > 2 * len(bench.PAGES))
    assert set(seen) == set(bench.PAGES)


def test_a_dashboard_that_fails_fails_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "RELOAD_SECONDS", 0.0)
    monkeypatch.setattr(httpx.Client, "get", lambda _, page: httpx.Response(500, request=ASKED))
    with pytest.raises(httpx.HTTPStatusError), bench.dashboard_open("http://127.0.0.1:9"):
        time.sleep(0.2)


def test_the_interval_of_a_median_is_that_of_the_sign_test() -> None:
    values = [float(n) for n in range(100)]
    assert bench._median_interval(values) == (39.0, 60.0)
    assert bench._median_interval([1.0]) == (1.0, 1.0)
