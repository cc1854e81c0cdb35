"""``make demo``: the whole job once, on real parts, and one screen with the outcome."""

import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import httpx

from agent.adapters import active
from agent.config import Config as ServerConfig
from agent.log.interaction_log import InteractionLog
from agent.serving import detach, serving_state
from agent.serving.serving_state import ServingState
from agent.turn.loop import Agent
from agent.turn.messages import BASE
from agent.turn.model_client import HttpModelClient, own_headers
from evolver.cli.show import ProgressBars, cycle_text
from evolver.config import Config
from evolver.crew.opening import open_crew
from evolver.crew.setup import Setup
from evolver.cycle import stages
from evolver.cycle.report import CycleReport
from evolver.cycle.run import run_cycle
from evolver.evaluation import suites
from evolver.evaluation.scoring import score_requests
from evolver.scores import EvalReport
from evolver.store.jsonl import lines_of
from evolver.store.ledger import Ledger
from toolkit.config import load_config
from toolkit.execute import Executor, open_executor
from toolkit.exit_codes import with_exit_codes
from toolkit.search import ToolIndex

_CLIENTS = 8
_PULSE_SECONDS = 5.0
_GO_ON = "the server goes on (stop it with: agent stop), and make demo goes on where this ended"


def main() -> None:
    """Serve, answer the shipped requests, score the base, run one cycle, say what changed. The server stays up
    afterwards, also when this ends early: what is done stands, and the next call goes on with it."""
    path = Path("config.toml") if Path("config.toml").exists() else None
    config = load_config(path, Config)
    begun = time.monotonic()
    _say("1/4  starting the server")
    detach.start(load_config(path, ServerConfig), path)
    serving = serving_state.running(config.data_folder)
    try:
        report, answered, beats = the_job(config, serving)
    except BaseException as error:
        _say(f"demo: {'interrupted' if isinstance(error, KeyboardInterrupt) else 'ended early'}; {_GO_ON}")
        raise
    after = serving_state.read(config.data_folder)
    print(result_text(report, answered, beats, serving, after, time.monotonic() - begun), flush=True)
    if report.cycle.status == "failed":
        sys.exit(1)


def the_job(config: Config, serving: ServingState) -> "tuple[CycleReport, int, Beats]":
    """Ask the server for the whole job and return it: the cycle's report, how many requests were answered before it,
    and what the pulse saw meanwhile."""
    with ProgressBars() as bars, Ledger(config.data_folder / "evolution.db") as ledger:
        with open_executor(config.toolkit) as executor:
            _say("2/4  answering the shipped requests")
            answered = answer_requests(config, serving, executor, bars)
        _say("3/4  scoring the base model on held-out requests")
        score_base(config, serving, bars)
        _say("4/4  one evolution cycle")
        with pulse(serving) as beats:
            report = run_cycle(config, ledger, on_progress=bars)
    return report, answered, beats


def score_base(config: Config, serving: ServingState, bars: ProgressBars) -> EvalReport:
    """Return the scores before; the cycle finds the answers on file and does not ask again."""
    at_once = config.evolver.evaluate.concurrency
    setup = Setup(config.toolkit, serving.gateway_url, serving.gateway_key, at_once)
    with open_crew(setup, config.cluster) as crew:
        return score_requests(
            config,
            suites.read_suite(suites.HELD_OUT),
            BASE,
            crew,
            on_progress=lambda share: bars("base", share, ""),
        )


def answer_requests(config: Config, serving: ServingState, executor: Executor, bars: ProgressBars) -> int:
    """Run the shipped requests as agent turns through the gateway; each is logged. Returns how many."""
    lines = lines_of((files("evolver.demo") / "demo_requests.jsonl").read_text(encoding="utf-8"))
    return answer(
        [json.loads(line)["request"] for line in lines if line.strip()], "demo", config, serving, executor, bars
    )


def answer(
    requests: Sequence[str],
    sessions: str,
    config: Config,
    serving: ServingState,
    executor: Executor,
    bars: ProgressBars,
) -> int:
    """Run ``requests`` as agent turns through the gateway; each is logged in a session of its own, whose name begins
    with ``sessions``. Returns how many."""
    done = 0
    with (
        HttpModelClient(serving.gateway_url, serving.gateway_key) as client,
        InteractionLog(config.data_folder / "interactions.db") as log,
        ThreadPoolExecutor(_CLIENTS) as pool,
    ):
        agent = Agent(client, executor, ToolIndex(executor.registry), config.agent.loop, config.agent.prompt)
        schemas = {tool.name: tool.schema() for tool in executor.registry}
        model = active.read(config.data_folder).name  # shadow mode has another server answer the alias

        def turn(number: int, request: str) -> None:
            agent.run(
                request,
                model=model,
                record=lambda t: log.append(
                    t, session=f"{sessions}-{number}", source="demo", tool_schemas=[schemas[name] for name in t.tools]
                ),
            )

        for _ in pool.map(turn, range(len(requests)), requests):
            done += 1
            bars("requests", done / len(requests), "")
    return done


class Beats:
    """Counts of the pulse."""

    def __init__(self) -> None:
        self.answered = 0
        self.failed = 0
        self.adapters: set[str] = set()


@contextmanager
def pulse(serving: ServingState) -> Iterator[Beats]:
    """Ask the server something small every few seconds while the block runs, as a person would."""
    beats = Beats()
    stop = threading.Event()

    def beat() -> None:
        body = {"model": "agent", "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 4}
        with httpx.Client(
            base_url=serving.gateway_url, headers=own_headers(serving.gateway_key), trust_env=False, timeout=300
        ) as client:
            while not stop.wait(_PULSE_SECONDS):
                try:
                    response = client.post("/v1/chat/completions", json=body)
                    response.raise_for_status()
                except httpx.HTTPError:
                    beats.failed += 1
                else:
                    beats.answered += 1
                    beats.adapters.add(response.headers.get("x-apprentice-adapter", ""))

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield beats
        stop.wait(2 * _PULSE_SECONDS)
    finally:
        stop.set()
        thread.join()


def result_text(
    report: CycleReport,
    answered: int,
    beats: Beats,
    before: ServingState,
    after: ServingState | None,
    seconds: float,
) -> str:
    """Return the one screen: what the cycle did, that the server stayed, and what to do next."""
    promoted = report.cycle.status == "promoted"
    adapter = report.of(stages.TRAIN)
    tried = f"try it    evolver promote {adapter.name}" if adapter else ""
    same = after is not None and after.vllm_pid == before.vllm_pid
    lines = [
        "",
        cycle_text(report),
        "",
        f"server    {'never restarted: vLLM is still process' if same else 'RESTARTED: vLLM was process'} "
        f"{before.vllm_pid}; while it learned it answered {beats.answered} requests, {beats.failed} failed; "
        f"answered by {', '.join(sorted(beats.adapters)) or 'nobody'}",
        f"requests  {answered} answered and logged; the whole run took {seconds / 60:.1f} minutes",
        "",
        "chat      agent chat              look back   agent log",
        f"{'undo      evolver rollback' if promoted else tried:34}stop        agent stop",
        "          (first: source .venv/bin/activate)",
    ]
    return "\n".join(lines)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    with_exit_codes(main, "demo")
