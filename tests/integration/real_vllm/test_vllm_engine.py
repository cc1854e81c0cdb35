"""The real engine, with its worker inside: ports, health under a flood of requests, and its end."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.http.address import http_client
from agent.serving.vllm.process import VllmServer
from tests.fakes import ports
from tests.fakes.waiting import wait_until

pytestmark = pytest.mark.timeout(600)
FLOOD = 200


def _engine(server: VllmServer) -> int:
    found = [
        pid
        for pid in ports.of_sessions(server.pid)
        if Path(f"/proc/{pid}/cmdline").read_text(errors="replace").startswith("VLLM::EngineCore")
    ]
    assert len(found) == 1
    return found[0]


def test_it_listens_on_no_port(vllm: VllmServer) -> None:
    processes = ports.of_sessions(vllm.pid)
    assert vllm.pid in processes
    assert ports.listening(processes) == set()


def test_no_worker_process_stands_beside_the_engine(vllm: VllmServer) -> None:
    names = [Path(f"/proc/{pid}/cmdline").read_text(errors="replace") for pid in ports.of_sessions(vllm.pid)]
    assert not any(name.startswith("VLLM::Worker") for name in names)


def test_health_answers_while_many_requests_wait(vllm: VllmServer) -> None:
    body = {"model": "base", "prompt": "Once upon a time", "max_tokens": 24, "ignore_eos": True}
    headers = {"authorization": f"Bearer {vllm.api_key}"}
    flood_began = time.monotonic()
    with http_client(vllm.url, headers=headers, timeout=500) as client, ThreadPoolExecutor(FLOOD) as pool:
        asked = [pool.submit(client.post, "/v1/completions", json=body) for _ in range(FLOOD)]
        waited = []
        while not all(one.done() for one in asked):
            began = time.monotonic()
            with http_client(vllm.url, timeout=500) as other:
                assert other.get("/health").status_code == 200
            waited.append(time.monotonic() - began)
            time.sleep(0.2)
        assert all(one.result().status_code == 200 for one in asked)
    # It waits for no end of the flood; how long that takes is the machine's.
    assert max(waited) < (time.monotonic() - flood_began) / 2


@pytest.mark.ends_vllm
def test_its_death_ends_vllm(vllm: VllmServer) -> None:
    os.kill(_engine(vllm), signal.SIGKILL)
    wait_until(lambda: not vllm.alive)
