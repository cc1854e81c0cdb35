"""The benchmark of the gateway runs: against its stub's protocol, and against a model server both ways."""

import asyncio
from pathlib import Path

import pytest

from agent.config import GatewayConfig
from benchmarks import gateway as bench
from benchmarks.gateway_stub import Stub
from tests.fakes.model_gateway import KEY, running_gateway
from tests.fakes.model_server import ModelServer, Says


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
    assert "vLLM, 4 streams, 2 rounds each way" in said
    assert "median until the end" in said and "median until the first piece" in said


def test_the_interval_of_a_median_is_that_of_the_sign_test() -> None:
    values = [float(n) for n in range(100)]
    assert bench._median_interval(values) == (39.0, 60.0)
    assert bench._median_interval([1.0]) == (1.0, 1.0)
