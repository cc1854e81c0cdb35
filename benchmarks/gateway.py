"""What the gateway costs: against a stub that answers at once, and against the real vLLM asked directly.

    python -m benchmarks.gateway [--seconds 5] [--rounds 8] [--streams 32 96] [--pairs 100] [--stub-only]

The gateway is what `agent serve` runs, in a process of its own on one core, with logging, redaction, keys and metrics
as they are by default; only the rate limit is off. Stub: how many requests a second it answers, its own processor time
per request, and how much later an answer, and its first piece, comes than without it (one request at a time). The aim
for one core is judged by the processor time: the measured requests a second are also limited by the asking program and
the stub, which share the machine, and are a lower bound; how much of its core the gateway used tells by how much. vLLM:
each round asks the same requests directly and through the gateway, in turn, at the same number of streams; compared are
the tokens per second of whole rounds. Then each request goes both ways, one at a time: the median of the differences in
time until the end and until the first piece. Both are measured again while somebody has the dashboard open, reloading.
Exit code 1 where an aim is missed.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import httpx
import uvloop

from agent.config import VllmConfig
from agent.http.address import http_url, socket_path
from agent.models import default_model
from agent.serving import serving_state
from agent.serving.vllm.process import VllmServer
from benchmarks.gateway_stub import STUB_KEY, serve_stub
from evolver.statistics import sign_test

KEY_VARIABLE = "BENCH_UPSTREAM_KEY"
MESSAGE = "What is the capital of France, and since when?"
ROUND_TOKENS, PAIR_TOKENS = 16, 4
LEAST_RATE, LEAST_THROUGHPUT, MOST_ADDED_MS = 500, 0.97, 2.0
"""The aims: requests a second on one core before the stub; of vLLM's own throughput; added by the gateway."""
PAGES, RELOAD_SECONDS = ("/ui/", "/ui/live"), 2.0
Way = tuple[str, str]
"""A URL and its key."""
TOOL = {
    "type": "function",
    "function": {
        "name": "capital",
        "description": "The capital of a country.",
        "parameters": {"type": "object", "properties": {"country": {"type": "string"}}, "required": ["country"]},
    },
}


@dataclass
class Asked:
    """Times of many answers, in seconds, and the time of all."""

    whole: list[float]
    first: list[float]
    tokens: int
    seconds: float


async def ask(url: str, key: str, *, streams: int, count: int, stream: bool, tokens: int, first: int = 0) -> Asked:
    """``count`` requests, ``streams`` at once; their numbers begin with ``first``."""
    todo = iter(range(first, first + count))
    asked = Asked([], [], 0, 0.0)
    headers = {"authorization": f"Bearer {key}"}

    async def one(session: aiohttp.ClientSession) -> None:
        for n in todo:
            body = {
                "model": "base",
                "messages": [{"role": "user", "content": f"{n}. {MESSAGE}"}],
                "tools": [TOOL],
                "tool_choice": "none",
                "max_tokens": tokens,
                "temperature": 0,
                "ignore_eos": True,
                "stream": stream,
            }
            began = time.perf_counter()
            async with session.post(http_url(url) + "/v1/chat/completions", json=body, headers=headers) as answer:
                began_answer = None
                async for _ in answer.content.iter_any():
                    began_answer = began_answer or time.perf_counter()
            assert answer.status == 200, answer.status
            asked.whole.append(time.perf_counter() - began)
            asked.first.append((began_answer or began) - began)
            asked.tokens += tokens

    began = time.perf_counter()
    path = socket_path(url)
    connector = aiohttp.TCPConnector(limit=0) if path is None else aiohttp.UnixConnector(path, limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(one(session) for _ in range(streams)))
    asked.seconds = time.perf_counter() - began
    return asked


@contextmanager
def gateway(folder: Path, upstream: str, key: str) -> Iterator[serving_state.ServingState]:
    """`agent serve` in front of ``upstream``."""
    config = folder / "config.toml"
    config.write_text(
        f'[[agent.serving.upstreams]]\nurl = "{upstream}"\nkey_variable = "{KEY_VARIABLE}"\n'
        "[agent.serving.gateway]\nport = 0\nrequests_per_minute = 0\n"
    )
    command = [sys.executable, "-m", "agent.cli", "serve", "--config", str(config)]
    with subprocess.Popen(command, env={**os.environ, KEY_VARIABLE: key}, stderr=subprocess.DEVNULL) as process:
        try:
            while (running := serving_state.read(folder / "data")) is None or not _healthy(running.gateway_url):
                assert process.poll() is None, "the gateway did not start"
                time.sleep(0.1)
            yield running
        finally:
            process.terminate()


def _healthy(url: str) -> bool:
    try:
        return httpx.get(url + "/health", trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def pinned(pid: int, core: int) -> None:
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def against_stub(seconds: float) -> bool:
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.gateway", "--serve-stub"], stdout=subprocess.PIPE, text=True
        ) as stub,
    ):
        try:
            assert stub.stdout is not None
            direct = f"http://127.0.0.1:{stub.stdout.readline().strip()}"
            with gateway(Path(folder), direct, STUB_KEY) as running:
                cores = sorted(os.sched_getaffinity(0))
                pinned(running.pid, cores[-1])
                pinned(stub.pid, cores[0])
                return _stub_figures(direct, running, seconds)
        finally:
            stub.kill()


def _stub_figures(direct: str, running: serving_state.ServingState, seconds: float) -> bool:
    met = True
    for stream, what in ((False, "whole answers"), (True, "answers in 18 pieces")):
        warm = uvloop.run(ask(running.gateway_url, "", streams=32, count=200, stream=stream, tokens=32))
        count = max(200, int(seconds * 200 / warm.seconds))
        before = cpu_seconds(running.pid)
        asked = uvloop.run(ask(running.gateway_url, "", streams=32, count=count, stream=stream, tokens=32))
        spent = cpu_seconds(running.pid) - before
        measured, judged = count / asked.seconds, count / spent
        print(f"stub, {what}, 32 at once: {measured:.0f} requests/s measured, ", end="")
        print(f"{spent / asked.seconds:.0%} of the gateway's core used: ", end="")
        print(f"{1000 * spent / count:.2f} ms of it for each, so ", end="")
        print(f"{judged:.0f} requests/s on a core of its own, at least {LEAST_RATE}", end="")
        print(" (judged: the asking program and the stub limit what is measured)", flush=True)
        met = met and judged >= LEAST_RATE
        alone: dict[str, Asked] = {}
        for url in (direct, running.gateway_url):
            uvloop.run(ask(url, "", streams=1, count=50, stream=stream, tokens=32))
            alone[url] = uvloop.run(ask(url, "", streams=1, count=400, stream=stream, tokens=32))
        added = [
            1000 * (statistics.median(through) - statistics.median(straight))
            for through, straight in (
                (alone[running.gateway_url].whole, alone[direct].whole),
                (alone[running.gateway_url].first, alone[direct].first),
            )
        ]
        print(
            f"stub, {what}, one at a time: {added[0]:+.2f} ms until the end, {added[1]:+.2f} ms until the first piece"
        )
    return met


@contextmanager
def dashboard_open(url: str) -> Iterator[None]:
    """Load pages of the dashboard again and again while the block runs, as a browser does."""
    ended = threading.Event()

    def reload() -> None:
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as browser:
            while not ended.wait(RELOAD_SECONDS):
                for page in PAGES:
                    browser.get(page).raise_for_status()

    with ThreadPoolExecutor(1) as pool:
        browser = pool.submit(reload)
        try:
            yield
        finally:
            ended.set()
            browser.result()


def against_vllm(data: Path, rounds: int, streams: Sequence[int], pairs: int) -> bool:
    model = default_model.prepare(data)
    with (
        tempfile.TemporaryDirectory() as folder,
        VllmServer.start(VllmConfig(), model, Path(folder) / "vllm.log", Path(folder) / "vllm.sock") as vllm,
        gateway(Path(folder), vllm.url, vllm.api_key) as running,
    ):
        direct, through = (vllm.url, vllm.api_key), (running.gateway_url, "")
        met = True
        for what, beside in (
            ("alone", nullcontext()),
            ("with the dashboard open", dashboard_open(running.gateway_url)),
        ):
            print(f"vLLM, {what}:", flush=True)
            with beside:
                for number in streams:
                    met = compare_throughput(direct, through, rounds, number) and met
                met = compare_latency(direct, through, pairs) and met
        return met


def compare_throughput(direct: Way, through: Way, rounds: int, streams: int) -> bool:
    """The same requests directly and through the gateway, round by round, the order swapped each time."""
    found: dict[Way, list[Asked]] = {direct: [], through: []}
    for number in range(-1, rounds):
        for way in (direct, through) if number % 2 else (through, direct):
            asked = uvloop.run(ask(*way, streams=streams, count=streams, stream=True, tokens=ROUND_TOKENS))
            if number >= 0:  # the first round warms up
                found[way].append(asked)
    rate = {way: sum(a.tokens for a in all_) / sum(a.seconds for a in all_) for way, all_ in found.items()}
    each = [d.seconds / g.seconds for d, g in zip(found[direct], found[through], strict=True)]
    ratio = rate[through] / rate[direct]
    print(f"  {streams} streams, {rounds} rounds each way: {rate[direct]:.0f} tokens/s directly, ", end="")
    print(f"{rate[through]:.0f} through the gateway: {ratio:.3f} ", end="")
    print(f"(round by round {min(each):.3f} to {max(each):.3f}); at least {LEAST_THROUGHPUT}", flush=True)
    return ratio >= LEAST_THROUGHPUT


def compare_latency(direct: Way, through: Way, pairs: int) -> bool:
    """One request at a time, each asked both ways in turn; the median of the pairs' differences in ms."""
    met = True
    found: dict[Way, list[Asked]] = {direct: [], through: []}
    for number in range(-2, pairs):
        for way in (direct, through) if number % 2 else (through, direct):
            asked = uvloop.run(ask(*way, streams=1, count=1, stream=True, tokens=PAIR_TOKENS, first=number))
            if number >= 0:
                found[way].append(asked)
    for what in ("whole", "first"):
        times = {way: [1000 * getattr(asked, what)[0] for asked in all_] for way, all_ in found.items()}
        added = sorted(g - d for d, g in zip(times[direct], times[through], strict=True))
        low, high = _median_interval(added)
        middle = statistics.median(added)
        print(f"  median until {'the end' if what == 'whole' else 'the first piece'}: ", end="")
        print(f"{statistics.median(times[direct]):.1f} ms directly, {middle:+.2f} ms ", end="")
        print(f"(95 % interval {low:+.2f} to {high:+.2f}, {pairs} pairs); at most {MOST_ADDED_MS:g}", flush=True)
        met = met and middle <= MOST_ADDED_MS
    return met


def _median_interval(values: list[float]) -> tuple[float, float]:
    """Return the exact interval of the median of sorted ``values`` that covers 95 % or more, by the sign test."""
    outside = 0
    while sign_test(len(values) - outside, outside) <= 0.025:
        outside += 1
    low = max(0, outside - 1)
    return values[low], values[len(values) - 1 - low]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--streams", type=int, nargs="+", default=[32, 96])
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--stub-only", action="store_true")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--serve-stub", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_stub:
        serve_stub()
        return
    met = against_stub(options.seconds)
    if not options.stub_only:
        met = against_vllm(options.data, options.rounds, options.streams, options.pairs) and met
    print("every aim is met" if met else "an aim is missed")
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
