"""Learning that goes on: tools arrive in batches, and every cycle is scored on all batches so far.

    python -m benchmarks.continual [--small] [--run NAME ...] [--way NAME ...] [--batches 6] [--cycles 6] [--seed 7]
                                   [--bfcl]

The tools are families of the built-in ones, chosen by seed and offered as tools of one's own (``builtin = false``); no
other tool is there. With a batch come some 60 requests without labels into the log: texts of shipped requests that
score nothing (continual_batches.py), and requests that the base model writes for the new tools. What serves is scored
on the batch; then a cycle runs; then its adapter, promoted or not, is scored on every batch so far, on no-tool requests
and, with ``--bfcl``, on BFCL's items with even numbers. The gate asks no request that scores.

What was done is kept in the data folder: a run that was cut off goes on. The section of docs/results.md and the picture
beside it hold what was measured and nothing else. ``--small`` is for choosing settings, and writes both into its own
data folder.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.adapters import active
from agent.turn.messages import BASE
from benchmarks.ablations import FULL, ROUND_2, inherit, snapshot
from benchmarks.continual_batches import SOURCES, Batch, Plan, apart, arrivals, as_suite, builtin_families, plan
from benchmarks.continual_page import BEGIN, END, SEED, Arrival, ContinualRound, replaced, section
from benchmarks.continual_picture import picture
from benchmarks.continual_round import Round, Setup, Text
from benchmarks.continual_runs import RUNS, WAYS
from benchmarks.evolution import StageTimes, cycle_report, place, server, write_config
from evolver.cli.show import ProgressBars
from evolver.config import Config
from evolver.cycle import stages
from evolver.cycle.evidence import Exam
from evolver.evaluation import suites
from evolver.evaluation.suites import Fingerprints, bfcl
from evolver.maintenance.backup import back_up
from evolver.statistics import rate
from evolver.store.jsonl import append_lines, read_lines, write_lines
from evolver.store.ledger import Ledger
from toolkit import durable_file
from toolkit.config import load_config
from toolkit.errors import PrerequisiteError, UserError
from toolkit.exit_codes import with_exit_codes

_SEED = "seed-"
_EMPTY_PAGE = f"# Continual learning\n\n{BEGIN}\n{END}\n"


SMALL = Setup(
    batches=3,
    cycles=3,
    scored=20,
    changes=(("evolver.make.max_minutes", 2.5), ("evolver.train.max_minutes", 2.5)),
)
"""For choosing settings: some ten minutes per cycle on two cores."""


def main() -> None:
    asked = _arguments()
    setup, data = _setup(asked), asked.data or Path("data/continual-small" if asked.small else "data/continual")
    if setup.bfcl_items is not None and bfcl.data_folder() is None:
        raise PrerequisiteError(f"--bfcl needs the package bfcl-eval; install it: {bfcl.INSTALL}")
    runs, names = data / f"{_SEED}{setup.seed}", _names(asked)
    items = {name: suites.read_suite(name).items for name in SOURCES}
    planned = plan(builtin_families(), items, count=setup.batches, size=setup.tools, seed=setup.seed)
    own = Path("docs") if not asked.small else data
    page, drawn = own / "results.md", own / "continual.svg"
    for name in () if asked.only_write else names:
        Run(name, runs, asked.config, setup, planned).to_the_end(lambda: publish(data, setup, page, drawn))
    publish(data, setup, page, drawn)
    print(f"written: {page}", file=sys.stderr)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="three cycles of 2.5 minutes of making and of training")
    parser.add_argument("--run", action="append", default=[], choices=RUNS, help="instead of full and no-replay")
    parser.add_argument(
        "--way", action="append", default=[], choices=WAYS, help="from cycle to cycle, with the full run to compare"
    )
    parser.add_argument("--batches", type=int, help="of tools; no more than cycles")
    parser.add_argument("--cycles", type=int)
    parser.add_argument("--seed", type=int, default=7, help="of the families, of the requests, and of the cycles")
    parser.add_argument("--bfcl", action="store_true", help="score BFCL's items with even numbers too")
    parser.add_argument("--bfcl-items", type=int, default=0, help="so many of each category; 0: all")
    parser.add_argument("--config", type=Path, default=Path("config.toml"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only-write", action="store_true", help="write the results of what has run")
    return parser.parse_args()


def _names(asked: argparse.Namespace) -> list[str]:
    """Return the runs that are asked for, each once; a way goes on with the full run, and is compared with it."""
    ways = [FULL, *asked.way] if asked.way else []
    return list(dict.fromkeys([*ways, *asked.run])) or [FULL, "no-replay"]


def _setup(asked: argparse.Namespace) -> Setup:
    setup = SMALL if asked.small else Setup()
    cycles = asked.cycles or setup.cycles
    batches = asked.batches or min(setup.batches, cycles)
    if not 1 <= batches <= cycles:
        raise UserError(f"{batches} batches do not arrive in {cycles} cycles; ask for at most one per cycle")
    bfcl_items = asked.bfcl_items if asked.bfcl else None
    return replace(setup, batches=batches, cycles=cycles, seed=asked.seed, bfcl_items=bfcl_items)


def publish(data: Path, setup: Setup, page: Path, drawn: Path) -> None:
    """Write what has run under ``data``, with whatever seed, into ``page``, between its marks, and ``drawn`` beside it;
    a page of its own where there is none."""
    found: dict[str, list[ContinualRound]] = {}
    for name, title in ((name, one.title) for name, one in RUNS.items()):
        files = sorted(data.glob(f"{_SEED}*/{name}/rounds.jsonl"))
        found |= {f"{title}{SEED}{file.parts[-3].removeprefix(_SEED)}": _rounds(file) for file in files}
        found |= {} if files else {title: []}
    text = section(found, setup.told(), picture=drawn.name)
    before = page.read_text(encoding="utf-8") if page.exists() else _EMPTY_PAGE
    page.parent.mkdir(parents=True, exist_ok=True)
    if any(found.values()):
        _write(drawn, picture(found))
    _write(page, replaced(before, text))


def _rounds(file: Path) -> list[ContinualRound]:
    return read_lines(file, ContinualRound)


def _write(file: Path, text: str) -> None:
    """Cut off, it leaves the old text or the new one."""
    durable_file.replace(file, text.encode())
    file.chmod(0o644)


class Run:
    """The run ``name``, in a folder of ``runs``. ``planned`` is what arrives."""

    def __init__(self, name: str, runs: Path, config_file: Path, setup: Setup, planned: Plan) -> None:
        self.name, self.runs, self.data = name, runs, runs / name
        self._file, self._setup, self._plan = config_file, setup, planned
        self._arrivals = dict(zip(arrivals(setup.batches, setup.cycles), planned.batches, strict=True))
        self._exam = Exam(as_suite(suites.HELD_OUT, planned.gate), Fingerprints(planned.free))

    def to_the_end(self, published: Callable[[], None]) -> None:
        """Run every round that is not done yet; ``published`` is called after each."""
        self._configured(1)
        if self.name != FULL:
            inherit(self.runs / FULL, self.data, ROUND_2)
        done = {one.number for one in read_lines(self.data / "rounds.jsonl", ContinualRound)}
        wanted = [number for number in range(self._setup.cycles + 1) if number not in done]
        if not wanted:
            return
        path, config = self._configured(max(wanted[0], 1))
        with (
            server(path, config) as serving,
            Ledger(config.data_folder / "evolution.db") as ledger,
            RUNS[self.name].during(config),
        ):
            for number in wanted:
                with ProgressBars() as bars:
                    print(f"{self.name}: cycle {number} of {self._setup.cycles}", file=sys.stderr)
                    one = Round(number, self._configured(max(number, 1))[1], serving, ledger, bars, self._setup)
                    done = self._done(one)
                # Before the round is noted: cut off in between, it is asked for again, and the next one has not begun.
                if number == 1 and self.name == FULL and not snapshot(self.data).exists():
                    back_up(config.data_folder, snapshot(self.data), ledger)
                append_lines(self.data / "rounds.jsonl", [done])
                published()

    def _configured(self, cycle: int, *, learning: bool = False) -> tuple[Path, Config]:
        """Write and read the settings of ``cycle``, with the tools that have arrived by then; for ``learning`` with the
        Python modules whose turn it is."""
        groups = RUNS[self.name].modules if learning else ()
        modules = [module for batch in self._so_far(cycle) for module in batch.modules]
        changes = {
            **dict(self._setup.changes),
            **RUNS[self.name].changes,
            "evolver.seed": self._setup.seed,
            "toolkit.mcp": {},
            "toolkit.tools.python_modules": list(groups[cycle % len(groups)]) if groups else [],
            "toolkit.tools.builtin": False,
            "toolkit.tools.modules": modules,
        }
        path = write_config(self._file, self.data, changes)
        return path, load_config(path, Config)

    def _so_far(self, cycle: int) -> list[Batch]:
        return [batch for first, batch in self._arrivals.items() if first <= cycle]

    def _done(self, one: "Round") -> ContinualRound:
        """Do one round and return it."""
        arrived = [self._arrive(one, batch) for first, batch in self._arrivals.items() if first == max(one.number, 1)]
        status: dict[str, Any] = {"arrived": tuple(arrived)}
        model, watch, now = BASE, StageTimes(one.bars), place()
        if one.number:
            learning = self._configured(one.number, learning=True)[1]
            report = cycle_report(one.number, learning, one.ledger, watch, self._exam)
            adapter, data, chosen = report.of(stages.TRAIN), report.of(stages.DATASET), report.of(stages.SELECT)
            model = adapter.name if adapter else active.read(one.config.data_folder).name
            status |= {
                "status": report.cycle.status, "reason": report.cycle.reason, "lessons": data.train if data else 0,
                "seconds": watch.seconds, "known": rate(chosen.known, chosen.asked) if chosen else None,
            }  # fmt: skip
        batches = {batch.number: one.scores(batch, model) for batch in self._so_far(max(one.number, 1))}
        abstention = one.report(as_suite("silent", self._plan.silent), model).irrelevance_accuracy
        return ContinualRound(
            number=one.number, model=model, batches=batches, abstention=abstention, bfcl=one.bfcl(model),
            where=now["where"], when=now["when"], **status,
        )  # fmt: skip

    def _arrive(self, one: "Round", batch: Batch) -> Arrival:
        """Put the requests of ``batch`` into the log and score what serves on it; once."""
        file = self.data / "arrivals.jsonl"
        known = {arrival.batch: arrival for arrival in read_lines(file, Arrival)}
        if batch.number not in known:
            one.log(f"batch-{batch.number}", self._requests(one, batch))
            scores = one.scores(batch, active.read(one.config.data_folder).name)
            known[batch.number] = Arrival(batch=batch.number, before=scores)
            append_lines(file, [known[batch.number]])
        return known[batch.number]

    def _requests(self, one: "Round", batch: Batch) -> list[str]:
        """Return what the log gets with ``batch``, the same in all runs."""
        file = self.runs / f"requests-{batch.number}.jsonl"
        if not file.exists():
            shipped = batch.unlabelled[: self._setup.unlabelled]
            missing = self._setup.unlabelled - len(shipped)
            scored = [item.request for each in self._plan.batches for item in each.scored]
            made = apart(one.written(batch, missing), [*scored, *(item.request for item in self._plan.silent)])
            write_lines(file, [Text(request=text) for text in [*shipped, *made[:missing]]])
        return read_lines(file, Text, key=lambda line: line.request)


if __name__ == "__main__":
    with_exit_codes(main, "bench-continual")
