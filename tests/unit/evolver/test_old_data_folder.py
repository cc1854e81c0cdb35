"""A data folder of the first version (commit 1b3f705) opens, and its cycles, adapters, scores and verdicts can be read.

The folder was written by that commit: two cycles of the test world, the first promoted, the second rejected, with the
chained and asking lessons that were removed since.
"""

import json
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evolver.cli.main import main
from evolver.config import Config
from evolver.cycle import stages
from evolver.cycle.report import report_of
from evolver.lessons.replay import still_right
from evolver.store.ledger import Ledger
from evolver.types import TraceKind
from tests.fakes.stages import value_of

FOLDER = Path(__file__).parents[2] / "data" / "data_folder_1b3f705.tar.xz"
Read = Callable[..., Any]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with tarfile.open(FOLDER) as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "config.toml").write_text('data_folder = "data"\n')
    monkeypatch.chdir(tmp_path)  # its markers name relative paths
    return tmp_path / "data"


@pytest.fixture
def read(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Read:
    """Runs ``evolver ARGUMENTS --json`` on the folder, and gives what it prints."""

    def run(*arguments: str) -> Any:
        monkeypatch.setattr(sys, "argv", ["evolver", *arguments, "--json"])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        assert not ended.value.code, shown.err
        if "\n{" in shown.out:
            return [json.loads(line) for line in shown.out.splitlines()]
        return json.loads(shown.out)

    return run


def test_its_cycles_can_be_read(read: Read) -> None:
    assert [(cycle["number"], cycle["status"]) for cycle in read("history")["cycles"]] == [
        (2, "rejected"),
        (1, "promoted"),
    ]


def test_its_counts_have_the_kinds_of_today(data: Path) -> None:
    with Ledger(data / "evolution.db") as ledger:
        report, summary = report_of(Config(data_folder=data), ledger, 1), ledger.cycles(1)[0].summary
    assert value_of(report, stages.MAKE).by_kind.keys() >= {
        TraceKind.BACK_TRANSLATION,
        TraceKind.NO_TOOL,
        TraceKind.LOGGED,
    }
    assert summary["make"]["by_kind"] == value_of(report, stages.MAKE).by_kind
    assert summary["verify"]["kept_by_kind"] == value_of(report, stages.VERIFY).kept_by_kind
    assert summary["dataset"]["composed"] == value_of(report, stages.DATASET).composed


def test_its_adapters_keep_their_scores_and_state(data: Path) -> None:
    with Ledger(data / "evolution.db") as ledger:
        found = {row.name: row for row in ledger.adapters()}
        measured = ledger.evaluations()
    assert {name: row.state for name, row in found.items()} == {"adapter-0001": "promoted", "adapter-0002": "rejected"}
    assert found["adapter-0001"].scores["call_accuracy"]["hits"] == 7
    assert {row.model for row in measured} == {"base", "adapter-0001", "adapter-0002"}


def test_the_scores_in_its_cycle_folders_can_be_read(data: Path) -> None:
    with Ledger(data / "evolution.db") as ledger:
        report = report_of(Config(data_folder=data), ledger, 1)
    assert (
        value_of(report, stages.INCUMBENT).call_accuracy.hits,
        value_of(report, stages.EVALUATE).call_accuracy.hits,
    ) == (0, 7)
    assert (
        value_of(report, stages.EVALUATE).irrelevance_accuracy.hits,
        value_of(report, stages.EVALUATE).invalid_call_rate.hits,
    ) == (3, 0)


@pytest.mark.parametrize(
    ("cycle", "show", "least"), [(1, "kept", 5), (2, "kept", 5), (2, "dropped", 1), (1, "requests", 5)]
)
def test_what_a_cycle_asked_kept_and_dropped_can_be_read(read: Read, cycle: int, show: str, least: int) -> None:
    assert len(read("history", "--cycle", str(cycle), "--show", show)) >= least


def test_why_its_traces_were_dropped_can_be_read(read: Read) -> None:
    dropped = read("history", "--cycle", "2", "--show", "dropped")
    assert "result_too_long" in json.dumps(dropped)


@pytest.mark.parametrize("command", [("adapters",), ("scores",), ("status",), ("audit",)])
def test_each_command_that_reads_takes_it(read: Read, command: tuple[str, ...]) -> None:
    assert read(*command)


def test_a_later_cycle_can_replay_its_lessons(data: Path) -> None:
    earlier = still_right(data, before=3, failed=set())
    assert {call.name for trace in earlier for call in trace.calls} >= {"add_prices", "box_count"}
    assert {trace.kind for trace in earlier} >= {TraceKind.BACK_TRANSLATION, TraceKind.NO_TOOL}
