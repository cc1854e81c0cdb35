"""Seconds in which the first held-out requests are scored: the settings of 1b3f705 against today's.

    python -m benchmarks.evaluating --from DATA [--requests 80] [--rounds 3] [--config config.toml]

``DATA`` is a data folder with an active adapter. Both sides score the same requests in the same way: through a gateway,
with the choice of the tool and the soft score. They differ in the settings of vLLM (benchmarks.making), in the requests
in flight, and in whether a text is generated to its end. Each server is started anew for each round, so that no prompt
is in its cache, and answers a few other requests before the clock starts. The figure is the median of the rounds'
ratios.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.adapters import active
from agent.config import LoopConfig
from agent.models import default_model
from agent.serving.serving_state import ServingState
from agent.turn.messages import BASE
from benchmarks import making
from benchmarks.evolution import copy_data, server, write_config
from evolver.config import Config
from evolver.crew.local import LocalCrew
from evolver.crew.setup import Setup, open_workshop
from evolver.evaluation import suites
from evolver.evaluation.evaluate import Asking, evaluate
from evolver.evaluation.scoring import soft_scoring
from evolver.evaluation.suites import Suite
from evolver.scores import EvalReport
from toolkit.config import load_config
from toolkit.errors import UserError
from toolkit.exit_codes import with_exit_codes

GOAL = 2.0
_WARM_UP = 8
_KEY_VARIABLE = "BENCHMARK_KEY"


@dataclass(frozen=True)
class Side:
    """Settings of one side; ``calls_come_first``: texts are cut off."""

    vllm: making.Setting
    in_flight: int
    calls_come_first: bool


SIDES = (Side(making.BEFORE, 12, False), Side(making.TODAY, Config().evolver.evaluate.concurrency, True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="begun", type=Path, metavar="DATA", required=True)
    parser.add_argument("--config", type=Path, default=Path("config.toml"))
    parser.add_argument("--requests", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    ratios = []
    for number in range(asked.rounds):
        seconds = {}
        for side in SIDES if number % 2 else SIDES[::-1]:
            with tempfile.TemporaryDirectory() as folder:
                report, taken = scored(side, Path(folder), asked.begun, asked.config, asked.requests)
            seconds[side.vllm.name] = taken
            print(
                f"round {number + 1}, {side.vllm.name}: {taken:.1f} s, {report.call_accuracy.hits} of "
                f"{report.call_accuracy.n} calls exact, {report.irrelevance_accuracy.hits} of "
                f"{report.irrelevance_accuracy.n} requests rightly without a call",
                flush=True,
            )
        before, today = (seconds[side.vllm.name] for side in SIDES)
        ratios.append(before / today)
    ratio = statistics.median(ratios)
    print(
        f"{asked.requests} held-out requests: {ratio:.2f} times as fast as with the settings of 1b3f705 "
        f"(rounds {min(ratios):.2f} to {max(ratios):.2f}); goal {GOAL}"
    )
    sys.exit(0 if ratio >= GOAL else 1)


def scored(side: Side, folder: Path, begun: Path, config_file: Path, requests: int) -> tuple[EvalReport, float]:
    """Return the scores of the active adapter of ``begun`` on so many held-out requests, and the seconds they took."""
    with serving(side, folder, begun, config_file) as (config, state):
        adapter = active.serving(config.data_folder).name
        if adapter == BASE:
            raise UserError(f"no adapter is active in {begun}; name a data folder in which one was promoted")
        limits = LoopConfig(
            max_steps=config.agent.loop.max_steps, max_tokens=config.evolver.evaluate.max_tokens, temperature=0.0
        )
        asking = Asking(adapter, limits, config.agent.prompt, side.calls_come_first)
        scorer = soft_scoring(config, adapter)
        setup = Setup(config.toolkit, state.gateway_url, state.gateway_key, side.in_flight)
        with open_workshop(setup) as workshop:
            crew = LocalCrew(workshop, side.in_flight)
            evaluate(_first(suites.DEVELOPMENT, _WARM_UP), asking, crew, soft_scorer=scorer)
            began = time.perf_counter()
            report = evaluate(_first(suites.HELD_OUT, requests), asking, crew, soft_scorer=scorer)
            return report, time.perf_counter() - began


@contextmanager
def serving(side: Side, folder: Path, begun: Path, config_file: Path) -> Iterator[tuple[Config, ServingState]]:
    """Serve a copy of the data folder ``begun`` in front of a vLLM with the settings of ``side``."""
    path = write_config(config_file, folder / "run", {"agent.serving.upstreams": []})
    socket = folder / "vllm" / "vllm.sock"
    upstream = f'upstreams = [{{url = "unix:{socket}", key_variable = "{_KEY_VARIABLE}"}}]'
    path.write_text(path.read_text(encoding="utf-8").replace("upstreams = []", upstream), encoding="utf-8")
    config = load_config(path, Config)
    copy_data(begun, config.data_folder)
    os.environ[_KEY_VARIABLE] = making.KEY
    model = default_model.prepare(config.data_folder)
    with (
        making.started(side.vllm, model, socket.parent) as vllm,
        vllm.awake(),
        server(path, config) as state,
    ):
        yield config, state


def _first(name: str, limit: int) -> Suite:
    suite = suites.read_suite(name)
    return suite.model_copy(update={"items": suite.items[:limit]})


if __name__ == "__main__":
    with_exit_codes(main, "bench-evaluating")
