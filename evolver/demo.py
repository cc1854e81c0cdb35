"""``make demo``: the whole job once, on real parts, and one screen that says what came of it."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import httpx

from agent.config import Config as ServerConfig
from agent.errors import NO_SERVER, ModelUnavailable
from agent.interaction_log import InteractionLog
from agent.loop import Agent
from agent.model_client import LOG_HEADER, HttpModelClient
from agent.serving import background, state
from agent.serving.state import ServingState
from evolver.config import Config
from evolver.cycle import CycleReport, run_cycle
from evolver.ledger import Ledger
from evolver.show import ProgressBars, cycle_text
from toolkit.config import load_config
from toolkit.execute import Executor, open_executor
from toolkit.search import ToolIndex

_CLIENTS = 8
_PULSE_SECONDS = 5.0


def main() -> None:
    """Serve, answer the shipped requests, run one cycle, say what changed. The server stays up afterwards."""
    path = Path("config.toml") if Path("config.toml").exists() else None
    config = load_config(path, Config)
    begun = time.monotonic()
    _say("1/3  starting the server")
    background.start(load_config(path, ServerConfig), path)
    serving = state.read(config.data_folder)
    if serving is None:
        raise ModelUnavailable(NO_SERVER)
    with ProgressBars() as bars, Ledger(config.data_folder / "evolution.db") as ledger:
        _say("2/3  answering the shipped requests")
        with open_executor(config.toolkit) as executor:
            answered = answer_requests(config, serving, executor, bars)
        _say("3/3  one evolution cycle")
        with pulse(serving) as beats:
            report = run_cycle(config, ledger, on_progress=bars)
    _result(report, answered, beats, serving, state.read(config.data_folder), time.monotonic() - begun)
    if report.cycle.status == "failed":
        sys.exit(1)


def answer_requests(config: Config, serving: ServingState, executor: Executor, bars: ProgressBars) -> int:
    """Run the shipped requests as agent turns through the gateway; each is logged. Returns how many."""
    lines = (files("evolver") / "demo_requests.jsonl").read_text(encoding="utf-8").splitlines()
    requests = [json.loads(line)["request"] for line in lines if line.strip()]
    done = 0
    with (
        HttpModelClient(serving.gateway_url) as client,
        InteractionLog(config.data_folder / "interactions.db") as log,
        ThreadPoolExecutor(_CLIENTS) as pool,
    ):
        agent = Agent(client, executor, ToolIndex(executor.registry), config.agent.loop, config.agent.prompt)
        schemas = {tool.name: tool.schema() for tool in executor.registry}

        def turn(number: int, request: str) -> None:
            agent.run(
                request,
                record=lambda t: log.append(
                    t, session=f"demo-{number}", source="demo", tool_schemas=[schemas[name] for name in t.tools]
                ),
            )

        for _ in pool.map(turn, range(len(requests)), requests):
            done += 1
            bars("requests", done / len(requests), "")
    return done


class Beats:
    """What the pulse saw."""

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
            base_url=serving.gateway_url, headers={LOG_HEADER: "no"}, trust_env=False, timeout=300
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


def _result(
    report: CycleReport,
    answered: int,
    beats: Beats,
    before: ServingState,
    after: ServingState | None,
    seconds: float,
) -> None:
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
        "undo      evolver rollback        stop        agent stop",
        "          (first: source .venv/bin/activate)",
    ]
    print("\n".join(lines), flush=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    from toolkit.errors import UserError

    try:
        main()
    except UserError as error:
        _say(f"demo: {error}")
        sys.exit(2)
