"""What evolution brings, round by round: from the base model, the toolkit's tools and the shipped unlabelled requests.

    python -m benchmarks.evolution [--rounds 3] [--ablation NAME ...] [--data data/bench] [--results FILE]

Each run has a data folder and a server of its own. A round is one cycle; after it its adapter, promoted or not, is
asked the held-out requests, the development requests, and the development part of BFCL (the first 200 of simple_python
and the first 120 of irrelevance). An ablation goes on with what the full run had made before the setting matters
(ablations.py). What was done is kept in the data folder: a run that was cut off goes on. The results hold what was
measured and nothing else; what has not run is said to be missing.
"""

import argparse
import json
import os
import platform
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from agent.adapters import active
from agent.adapters.package import MANIFEST
from agent.config import Config as ServerConfig
from agent.serving import detach, serving_state
from agent.serving.serving_state import ServingState
from agent.turn.messages import BASE
from agent.turn.model_client import HttpModelClient, ModelReply
from benchmarks.ablations import ABLATIONS, FULL, ROUND_2, SERVING, inherit, snapshot
from benchmarks.blind_round_trip import blind_round_trip
from benchmarks.evolution_page import Round, results_text
from evolver.cli.show import ProgressBars
from evolver.config import Config
from evolver.crew.local import LocalCrew
from evolver.crew.workshop import Workshop
from evolver.cycle import stages
from evolver.cycle.evidence import Exam
from evolver.cycle.report import CycleReport, report_of
from evolver.cycle.run import run_cycle
from evolver.demo.run import answer_requests
from evolver.evaluation.scoring import score_suite
from evolver.evaluation.suites import bfcl
from evolver.maintenance.backup import back_up
from evolver.model.client import Generator
from evolver.scores import EvalReport, Rate
from evolver.store.jsonl import append_lines, read_lines
from evolver.store.ledger import Ledger
from toolkit.config import load_config
from toolkit.errors import PrerequisiteError, UserError
from toolkit.execute import open_executor
from toolkit.exit_codes import with_exit_codes

ALL = "all"
"""Stands for the full run and every ablation after it."""
SUITES: dict[str, int | None] = {"heldout": None, "develop": None, "bfcl:simple_python": 200, "bfcl:irrelevance": 120}
"""Each suite with how many of its requests are asked."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--ablation", action="append", default=[], choices=[ALL, *ABLATIONS], help="instead of the full run"
    )
    parser.add_argument("--config", type=Path, default=Path("config.toml"))
    parser.add_argument("--data", type=Path, default=Path("data/bench"))
    parser.add_argument("--results", type=Path, default=Path("data/bench/results.md"))
    parser.add_argument("--only-write", action="store_true", help="write the results of what has run")
    asked = parser.parse_args()
    if bfcl.data_folder() is None:
        raise PrerequisiteError(f"the benchmark needs the package bfcl-eval; install it: {bfcl.INSTALL}")
    runs = [FULL, *ABLATIONS] if ALL in asked.ablation else asked.ablation or [FULL]
    for name in () if asked.only_write else runs:
        run(name, asked.config, asked.data, rounds=asked.rounds)
        asked.results.write_text(results_text(asked.data), encoding="utf-8")
    asked.results.write_text(results_text(asked.data), encoding="utf-8")
    print(f"written: {asked.results}", file=sys.stderr)


def run(name: str, config_file: Path, runs: Path, *, rounds: int) -> None:
    """Bring the run ``name``, in a folder of ``runs``, to ``rounds`` rounds. Raises UserError where this version has no
    such setting, and where an ablation has nothing to go on with."""
    data, ablation = runs / name, ABLATIONS.get(name)
    path = write_config(config_file, data, ablation.changes if ablation else {})
    config = load_config(path, Config)
    if ablation:
        inherit(runs / FULL, data, ablation.since, ablation.rewrite)
        rounds = {ROUND_2: max(rounds, 2), SERVING: 1}.get(ablation.since, rounds)
    done = {one.number for one in read_lines(data / "rounds.jsonl", Round)}
    wanted = range(1 if ablation else 0, rounds + 1)
    if done >= set(wanted):
        return
    with (
        server(path, config) as serving,
        Ledger(config.data_folder / "evolution.db") as ledger,
        ProgressBars() as bars,
        blind_round_trip(config, serving) if ablation and ablation.blind else nullcontext(),
    ):
        for number in wanted:
            if number in done:
                continue
            print(f"{name}: {f'round {number} of {rounds}' if number else 'the base model'}", file=sys.stderr)
            if not number:
                one = _base(config, serving, bars)
            elif ablation and ablation.forced:
                scores = _scores(config, BASE, serving, bars, client_type=ForcedClient)
                one = Round(number=1, status="not trained", scores=scores, **place())
            elif ablation and ablation.since == SERVING:
                one = _active(config, serving, bars)
            else:
                one = _round(number, config, serving, ledger, bars)
            if number == 1 and not ablation and not snapshot(data).exists():
                back_up(config.data_folder, snapshot(data), ledger)
            append_lines(data / "rounds.jsonl", [one])


def _base(config: Config, serving: ServingState, bars: ProgressBars) -> Round:
    with open_executor(config.toolkit) as executor:
        answer_requests(config, serving, executor, bars)
    return Round(number=0, scores=_scores(config, BASE, serving, bars), **place())


def _active(config: Config, serving: ServingState, bars: ProgressBars) -> Round:
    name = active.read(config.data_folder).name
    if name == BASE:
        raise UserError(f"the first round of the {FULL} run promoted no adapter, so there is none to score")
    return Round(number=1, status="promoted", scores=_scores(config, name, serving, bars), **place())


def _round(number: int, config: Config, serving: ServingState, ledger: Ledger, bars: ProgressBars) -> Round:
    watch = StageTimes(bars)
    report = cycle_report(number, config, ledger, watch)
    adapter = report.of(stages.TRAIN)
    if adapter is None:
        print(f"round {number} made no adapter: {report.cycle.reason}", file=sys.stderr)
        return _told(number, report, watch, {})
    return _told(number, report, watch, _scores(config, adapter.name, serving, bars))


def cycle_report(
    number: int, config: Config, ledger: Ledger, watch: "StageTimes", exam: Exam | None = None
) -> CycleReport:
    """Return the report of the cycle of round ``number``, which is run unless it has ended before. Raises UserError
    where it fails, and as run_cycle does."""
    ended = [cycle for cycle in reversed(ledger.cycles()) if cycle.ended_at and cycle.status != "failed"]
    if len(ended) >= number:  # it was cut off before its scores were written
        return report_of(config, ledger, ended[number - 1].number)
    report = run_cycle(config, ledger, exam=exam, on_progress=watch)
    if report.cycle.status == "failed":
        raise UserError(f"round {number} failed: {report.cycle.reason}; mend that, and run the same again")
    return report


def _told(number: int, report: CycleReport, watch: "StageTimes", scores: dict[str, dict[str, Rate]]) -> Round:
    training: dict[str, float] = {}
    if (adapter := report.of(stages.TRAIN)) is not None:
        manifest = json.loads((adapter.folder / MANIFEST).read_text(encoding="utf-8"))
        metrics = manifest["metrics"]
        training = {
            key: metrics[key] for key in ("steps", "tokens_computed", "target_tokens", "loss_first", "loss_last")
        }
        training["wall_seconds"] = manifest["wall_seconds"]
        if fit := manifest["calibration"]:
            training |= {key: fit[key] for key in ("auc", "call_accuracy", "no_call_accuracy")}
    made, verified, dataset = (report.of(stage) for stage in (stages.MAKE, stages.VERIFY, stages.DATASET))
    made_dropped = made.dropped if made else {}
    judged_dropped = verified.dropped if verified else {}
    return Round(
        number=number,
        status=report.cycle.status,
        made=made.by_kind if made else {},
        kept=verified.kept_by_kind if verified else {},
        dropped={**{f"make: {key}": n for key, n in made_dropped.items()}, **judged_dropped},
        lessons=dataset.train if dataset else 0,
        seconds=watch.seconds,
        training=training,
        scores=scores,
        **place(),
    )


def place() -> dict[str, str]:
    """Return where and when something is measured."""
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    return {"where": machine, "when": time.strftime("%Y-%m-%d", time.gmtime())}


class StageTimes:
    """Times the stages by what they say of themselves, and passes it on."""

    def __init__(self, bars: ProgressBars) -> None:
        self._bars = bars
        self._begun: dict[str, float] = {}
        self.seconds: dict[str, float] = {}

    def __call__(self, stage: str, share: float, remark: str) -> None:
        if share == 0.0:
            self._begun.setdefault(stage, time.monotonic())
        if stage in self._begun:
            self.seconds[stage] = round(time.monotonic() - self._begun[stage], 1)
        self._bars(stage, share, remark)


class ForcedClient(HttpModelClient):
    """Makes the model call wherever it is shown tools and has called none yet."""

    def chat(self, request: dict[str, Any], *, timeout_seconds: float | None = None) -> ModelReply:
        first = request["messages"][-1]["role"] == "user"
        if request.get("tools") and first and "tool_choice" not in request:
            request = {**request, "tool_choice": "required"}
        return super().chat(request, timeout_seconds=timeout_seconds)


def _scores(
    config: Config,
    model: str,
    serving: ServingState,
    bars: ProgressBars,
    client_type: type[HttpModelClient] = HttpModelClient,
) -> dict[str, dict[str, Rate]]:
    found: dict[str, dict[str, Rate]] = {}
    url, key = serving.gateway_url, serving.gateway_key
    at_once = config.evolver.evaluate.concurrency
    with (
        open_executor(config.toolkit, insist=True) as executor,
        client_type(url, key) as client,
        Generator(url, api_key=key) as generator,
    ):
        crew = LocalCrew(Workshop(executor, client, generator), at_once)
        for suite, limit in SUITES.items():
            report = score_suite(
                config, suite, model, crew, limit=limit,
                on_progress=lambda share, suite=suite: bars(suite, share, model),
            )  # fmt: skip
            assert isinstance(report, EvalReport)
            rates = {
                name: getattr(report, name)
                for name in ("call_accuracy", "tool_selection_accuracy", "irrelevance_accuracy", "invalid_call_rate")
            }
            found[suite] = {name: rate for name, rate in rates.items() if rate.n}
    return found


@contextmanager
def server(path: Path, config: Config) -> Iterator[ServingState]:
    """Serve with the settings in ``path`` while the block runs. Raises UserError where no server starts."""
    settings = load_config(path, ServerConfig)
    detach.start(settings, path)
    try:
        serving = serving_state.read(config.data_folder)
        if serving is None:
            raise UserError("the server ended at once; see serve.log in the run's data folder")
        yield serving
    finally:
        detach.stop(settings)


def copy_data(begun: Path, target: Path) -> None:
    """Copy the data folder ``begun`` to ``target``. Raises UserError where no cycle has run in it."""
    if not (begun / "evolution.db").exists():
        raise UserError(f"{begun} is no data folder; name one in which a cycle has run")
    with Ledger(begun / "evolution.db") as ledger:
        back_up(begun, target, ledger)


def write_config(source: Path, data: Path, changed: dict[str, Any]) -> Path:
    """The settings of ``source`` with ``changed`` keys and a data folder and port of their own, as a file in ``data``.

    Raises UserError when this version has no such key.
    """
    values = tomllib.loads(source.read_text(encoding="utf-8")) if source.exists() else {}
    for key, value in {"data_folder": "data", "agent.serving.gateway.port": 0, **changed}.items():
        *tables, last = key.split(".")
        table = values
        for name in tables:
            table = table.setdefault(name, {})
        table[last] = value
    data.mkdir(parents=True, exist_ok=True)
    path = data / "config.toml"
    path.write_text(_toml(values), encoding="utf-8")
    try:
        load_config(path, Config)
    except UserError as error:
        if not changed:
            raise
        raise UserError(f"this version cannot leave that out ({', '.join(changed)}): {error}") from None
    return path


def _toml(values: dict[str, Any], prefix: str = "") -> str:
    """Tables of numbers, texts, truth values and lists of them; each of those reads the same in JSON and TOML."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items() if not isinstance(value, dict)]
    text = "\n".join(lines) + "\n"
    for key, value in values.items():
        if isinstance(value, dict):
            text += f"\n[{prefix}{key}]\n" + _toml(value, f"{prefix}{key}.")
    return text


if __name__ == "__main__":
    with_exit_codes(main, "bench-evolution")
