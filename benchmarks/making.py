"""Tokens per second of the makers' own prompts on the managed vLLM: the settings of 1b3f705 against today's.

    python -m benchmarks.making [--tools 40] [--rounds 5] [--data data]

The makers work once through the shipped tools; what they ask is recorded. Then both servers are asked the recorded
requests in turn, round by round, each with its own number of requests in flight; the one that is not asked is stopped
(SIGSTOP). The prompts of a round begin with its number, so that of the prefix cache only the makers' examples count, as
in a cycle; these are read before the clock starts. The figure is the median of the rounds' ratios.
"""

import argparse
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.config import VllmConfig
from agent.http.address import http_client, of_socket
from agent.models import default_model
from agent.serving.vllm import command_line, cpu_engine, process
from agent.serving.vllm.process import VllmServer
from agent.turn.model_client import HttpModelClient
from evolver.config import Config
from evolver.crew.workshop import Rules, Workshop
from evolver.evaluation.suites import Fingerprints
from evolver.generation.back_translation import Batch
from evolver.model.client import Generator
from toolkit.execute import open_executor

GOAL = 2.2
KEY = "benchmark"
"""API key of the servers."""
_SECONDS = 600.0
_HEAD = 60
"""Characters by which the makers' examples, with which their prompts begin, are told apart."""

Body = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """How a server is started and asked. ``in_flight`` counts requests; each asks for several completions.

    ``variables`` and ``arguments``: environment variables and further arguments of vLLM's command line, beside the
    product's.
    """

    name: str
    max_num_seqs: int
    in_flight: int
    whole_machine: bool = True
    variables: Mapping[str, str] = field(default_factory=dict)
    arguments: Sequence[str] = ()

    def command(self, model: Path, socket: Path) -> list[str]:
        config = VllmConfig(max_num_seqs=self.max_num_seqs)
        words = command_line.command(config, model, socket, gpu=False)
        if self.whole_machine:
            return [*words, *self.arguments]
        return [word for word in words if word not in cpu_engine.ARGUMENTS]

    def environment(self, folder: Path) -> dict[str, str]:
        made = command_line.environment(os.environ, VllmConfig(), KEY, folder, gpu=False)
        if self.whole_machine:
            return {**made, **self.variables}
        return {name: value for name, value in made.items() if name not in cpu_engine.environment(1)}


BEFORE = Setting("1b3f705", max_num_seqs=32, in_flight=24, whole_machine=False)
TODAY = Setting("today", max_num_seqs=VllmConfig().max_num_seqs, in_flight=Config().evolver.make.concurrency)


@dataclass(frozen=True)
class Round:
    """What one server did with all recorded requests."""

    tokens: int
    seconds: float
    finished: float

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds


class Server:
    """A vLLM that computes only while it is asked."""

    def __init__(self, setting: Setting, server: VllmServer) -> None:
        self.setting = setting
        self._server = server

    def generator(self, record: Any) -> Generator:
        """Return the makers' own client, which speaks to vLLM itself here."""
        made = Generator("http://localhost", concurrency=self.setting.in_flight, record=record)
        made._http = self._client()
        return made

    def _client(self) -> Any:
        headers = {"authorization": f"Bearer {self._server.api_key}"}
        return http_client(self._server.url, headers=headers, timeout=_SECONDS)

    @contextmanager
    def awake(self) -> Iterator[None]:
        os.killpg(self._server.pid, signal.SIGCONT)
        try:
            yield
        finally:
            os.killpg(self._server.pid, signal.SIGSTOP)

    def ask(self, bodies: Sequence[Body], number: int) -> Round:
        with self.awake(), self._client() as client, ThreadPoolExecutor(self.setting.in_flight) as pool:
            for body in {body["prompt"][:_HEAD]: body for body in bodies}.values():  # in a cycle, examples are cached
                _answer(client, {**body, "n": 1, "max_tokens": 1}, number)
            began = time.perf_counter()
            answers = list(pool.map(lambda body: _answer(client, body, number), bodies))
            seconds = time.perf_counter() - began
        choices = Counter(choice["finish_reason"] for answer in answers for choice in answer["choices"])
        return Round(
            tokens=sum(answer["usage"]["completion_tokens"] for answer in answers),
            seconds=seconds,
            finished=choices["stop"] / choices.total(),
        )


def _answer(client: Any, body: Body, number: int) -> Body:
    return (
        client.post("/v1/completions", json={**body, "prompt": f"{number}\n{body['prompt']}"}).raise_for_status().json()
    )


@contextmanager
def started(setting: Setting, model: Path, folder: Path) -> Iterator[Server]:
    folder.mkdir()
    socket = folder / "vllm.sock"
    server = VllmServer.spawn(
        setting.command(model, socket),
        setting.environment(folder),
        url=of_socket(socket),
        api_key=KEY,
        log=folder / "vllm.log",
        timeout_seconds=_SECONDS,
        must_log=process.ANNOUNCEMENT,
    )
    try:
        os.killpg(server.pid, signal.SIGSTOP)
        yield Server(setting, server)
    finally:
        os.killpg(server.pid, signal.SIGCONT)
        server.stop()


def recorded(server: Server, config: Config, tools: int, seed: int) -> list[Body]:
    """Return the requests of the makers' first batch for so many of the shipped tools, in a random order."""
    bodies: list[Body] = []
    rng = random.Random(seed)
    with (
        open_executor(config.toolkit) as executor,
        server.awake(),
        server.generator(lambda _route, body, _answer: bodies.append(body)) as generator,
        HttpModelClient("http://localhost") as client,  # makers ask for no chat
        ThreadPoolExecutor(server.setting.in_flight) as pool,
    ):
        workshop = Workshop(executor, client, generator, Rules(Fingerprints()))
        chosen = rng.sample(sorted(executor.registry, key=lambda tool: tool.name), tools)
        batches = [Batch(config.evolver.make, tool.name, seed) for tool in chosen]
        list(pool.map(lambda batch: batch.make(workshop, Counter(), lambda: False), batches))
    rng.shuffle(bodies)
    return bodies


def measure(settings: Sequence[Setting], model: Path, config: Config, tools: int, rounds: int) -> list[list[Round]]:
    """Return the rounds of each setting."""
    found: list[list[Round]] = [[] for _ in settings]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        servers = []
        for number, setting in enumerate(settings):
            server = stack.enter_context(started(setting, model, Path(folder) / str(number)))
            servers.append(server)
        bodies = recorded(servers[-1], config, tools, seed=1)
        print(f"{len(bodies)} requests of {tools} tools", flush=True)
        order = list(range(len(settings)))
        for number in range(rounds):
            for index in order if number % 2 else order[::-1]:
                done = servers[index].ask(bodies, number)
                found[index].append(done)
                print(
                    f"round {number + 1}, {settings[index].name}: {done.tokens} tokens, {done.rate:.0f} tokens/s, "
                    f"{done.finished:.0%} finished",
                    flush=True,
                )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=Path("data"), help="where the default model is, or will be made")
    parser.add_argument("--setting", action="append", default=[], help=argparse.SUPPRESS)
    options = parser.parse_args()
    settings = (
        [BEFORE, *(Setting(**json.loads(one)) for one in options.setting)] if options.setting else [BEFORE, TODAY]
    )
    model = default_model.prepare(options.data.resolve())
    before, *others = measure(settings, model, Config(), options.tools, options.rounds)
    met = True
    for setting, rounds in zip(settings[1:], others, strict=True):
        ratios = [new.rate / old.rate for new, old in zip(rounds, before, strict=True)]
        ratio = statistics.median(ratios)
        finished = [statistics.fmean(one.finished for one in all_) for all_ in (before, rounds)]
        print(
            f"{setting.name}, {setting.max_num_seqs} sequences, {setting.in_flight} requests in flight: {ratio:.2f} "
            f"times the tokens/s of {BEFORE.name} (rounds {min(ratios):.2f} to {max(ratios):.2f}); goal {GOAL}; "
            f"finished completions {finished[0]:.1%} and {finished[1]:.1%}"
        )
        met = met and ratio >= GOAL
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
