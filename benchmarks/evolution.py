"""What evolution brings, round by round: from the base model, the toolkit's tools and the shipped unlabelled requests.

    python benchmarks/evolution.py [--rounds 3] [--ablation NAME ...] [--data data/bench] [--results docs/results.md]

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
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ablations import ABLATIONS, FULL, ROUND_2, SERVING, inherit, snapshot
from evolution_page import Round, results_text

from agent.config import Config as ServerConfig
from agent.messages import BASE
from agent.model_client import HttpModelClient
from agent.serving import active_adapter, background, state
from agent.serving.state import ServingState
from evolver.adapter_files import MANIFEST
from evolver.backup import back_up
from evolver.config import Config
from evolver.cycle import run_cycle
from evolver.cycle_report import CycleReport, report_of
from evolver.demo import answer_requests
from evolver.jsonl import append_lines, read_lines
from evolver.ledger import Ledger
from evolver.scoring import score_suite
from evolver.show import ProgressBars
from evolver.suites import bfcl
from evolver.types import EvalReport, Rate
from toolkit.config import load_config
from toolkit.errors import PrerequisiteError, UserError
from toolkit.execute import open_executor

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
    parser.add_argument("--results", type=Path, default=Path("docs/results.md"))
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
        inherit(runs / FULL, data, ablation.since)
        rounds = {ROUND_2: max(rounds, 2), SERVING: 1}.get(ablation.since, rounds)
    done = {one.number for one in read_lines(data / "rounds.jsonl", Round)}
    wanted = range(1 if ablation else 0, rounds + 1)
    if done >= set(wanted):
        return
    with (
        _server(path, config) as serving,
        Ledger(config.data_folder / "evolution.db") as ledger,
        ProgressBars() as bars,
    ):
        for number in wanted:
            if number in done:
                continue
            print(f"{name}: {f'round {number} of {rounds}' if number else 'the base model'}", file=sys.stderr)
            if not number:
                one = _base(config, serving, bars)
            elif ablation and ablation.since == SERVING:
                one = _served(config, serving, bars)
            else:
                one = _round(number, config, serving, ledger, bars)
            if number == 1 and not ablation and not snapshot(data).exists():
                back_up(config.data_folder, snapshot(data), ledger)
            append_lines(data / "rounds.jsonl", [one])


def _base(config: Config, serving: ServingState, bars: ProgressBars) -> Round:
    with open_executor(config.toolkit) as executor:
        answer_requests(config, serving, executor, bars)
    return Round(number=0, scores=_scores(config, BASE, serving, bars), **_place())


def _served(config: Config, serving: ServingState, bars: ProgressBars) -> Round:
    name = active_adapter.read(config.data_folder).name
    if name == BASE:
        raise UserError(f"the first round of the {FULL} run promoted no adapter, so there is none to score")
    return Round(number=1, status="promoted", scores=_scores(config, name, serving, bars), **_place())


def _round(number: int, config: Config, serving: ServingState, ledger: Ledger, bars: ProgressBars) -> Round:
    watch = _Watch(bars)
    ended = [cycle for cycle in reversed(ledger.cycles()) if cycle.ended_at and cycle.status != "failed"]
    if len(ended) >= number:  # it was cut off before its scores were written
        report = report_of(config, ledger, ended[number - 1].number)
    else:
        report = run_cycle(config, ledger, on_progress=watch)
    if report.cycle.status == "failed":
        raise UserError(f"round {number} failed: {report.cycle.reason}; mend that, and run the same again")
    if report.adapter is None:
        print(f"round {number} made no adapter: {report.cycle.reason}", file=sys.stderr)
        return _told(number, report, watch, {})
    return _told(number, report, watch, _scores(config, report.adapter.name, serving, bars))


def _told(number: int, report: CycleReport, watch: "_Watch", scores: dict[str, dict[str, Rate]]) -> Round:
    training: dict[str, float] = {}
    if report.adapter is not None:
        manifest = json.loads((report.adapter.folder / MANIFEST).read_text(encoding="utf-8"))
        metrics = manifest["metrics"]
        training = {
            key: metrics[key] for key in ("steps", "tokens_computed", "target_tokens", "loss_first", "loss_last")
        }
        training["wall_seconds"] = manifest["wall_seconds"]
        if fit := manifest["calibration"]:
            training |= {key: fit[key] for key in ("auc", "call_accuracy", "no_call_accuracy")}
    made_dropped = report.made.dropped if report.made else {}
    judged_dropped = report.verified.dropped if report.verified else {}
    return Round(
        number=number,
        status=report.cycle.status,
        made=report.made.by_maker if report.made else {},
        kept=report.verified.kept_by_maker if report.verified else {},
        dropped={**{f"make: {key}": n for key, n in made_dropped.items()}, **judged_dropped},
        lessons=report.dataset.train if report.dataset else 0,
        seconds=watch.seconds,
        training=training,
        scores=scores,
        **_place(),
    )


def _place() -> dict[str, str]:
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    return {"where": machine, "when": time.strftime("%Y-%m-%d", time.gmtime())}


class _Watch:
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


def _scores(config: Config, model: str, serving: ServingState, bars: ProgressBars) -> dict[str, dict[str, Rate]]:
    found: dict[str, dict[str, Rate]] = {}
    url, key = serving.gateway_url, serving.gateway_key
    with open_executor(config.toolkit, insist=True) as executor, HttpModelClient(url, key) as client:
        for suite, limit in SUITES.items():
            report = score_suite(
                config, suite, model, client=client, executor=executor, gateway_url=url, gateway_key=key, limit=limit,
                on_progress=lambda share, suite=suite: bars(suite, share, model),
            )  # fmt: skip
            assert isinstance(report, EvalReport)
            rates = {name: getattr(report, name) for name in ("exact", "right_tool", "no_call", "malformed")}
            found[suite] = {name: rate for name, rate in rates.items() if rate.n}
    return found


@contextmanager
def _server(path: Path, config: Config) -> Iterator[ServingState]:
    server = load_config(path, ServerConfig)
    background.start(server, path)
    try:
        serving = state.read(config.data_folder)
        if serving is None:
            raise UserError("the server ended at once; see serve.log in the run's data folder")
        yield serving
    finally:
        background.stop(server)


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
    try:
        main()
    except UserError as error:
        print(f"bench-evolution: {error}", file=sys.stderr)
        sys.exit(2)
