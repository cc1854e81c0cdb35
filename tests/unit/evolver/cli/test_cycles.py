"""Cycles run, fail, follow one another and are paused."""

import json
from pathlib import Path
from typing import Any

import pytest

from evolver.cycle import run as cycle
from evolver.cycle.report import CycleReport
from evolver.errors import StageError
from evolver.store import lease
from evolver.store.ledger import Ledger
from tests.fakes.evolver_command import Evolver, refused


def test_a_cycle_that_failed_is_exit_code_1(evolver: Evolver, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_cycle(config: Any, ledger: Ledger, **_: Any) -> CycleReport:
        number = ledger.open_cycle().number
        ledger.end_cycle(number, "failed", "StageError: no luck")
        return CycleReport(cycle=ledger.cycles(number)[0])

    monkeypatch.setattr(cycle, "run_cycle", run_cycle)
    code, out, _ = evolver("cycle")
    assert code == 1
    assert out.splitlines() == ["cycle 1: failed", "reason    StageError: no luck"]
    code, out, _ = evolver("cycle", "--json")
    assert (code, json.loads(out)["number"]) == (1, 2)


def test_rounds_follow_one_another_while_each_is_promoted(evolver: Evolver, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = iter(["promoted", "rejected", "promoted"])

    def run_cycle(config: Any, ledger: Ledger, **_: Any) -> CycleReport:
        number = ledger.open_cycle().number
        ledger.end_cycle(number, next(ends), "a test")
        return CycleReport(cycle=ledger.cycles(number)[0])

    monkeypatch.setattr(cycle, "run_cycle", run_cycle)
    code, out, _ = evolver("cycle", "--rounds", "3")
    assert code == 0
    assert [line for line in out.splitlines() if line.startswith("cycle ")] == [
        "cycle 1: promoted",
        "cycle 2: rejected",
    ]
    assert evolver("cycle", "--rounds", "4")[0] == 2


def test_a_bug_is_no_user_error(evolver: Evolver, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_cycle(*_: Any, **__: Any) -> CycleReport:
        raise ZeroDivisionError

    monkeypatch.setattr(cycle, "run_cycle", run_cycle)
    with pytest.raises(ZeroDivisionError):
        evolver("cycle")


def test_stage_errors_are_one_line(evolver: Evolver, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_cycle(*_: Any, **__: Any) -> CycleReport:
        raise StageError("the suite is damaged")

    monkeypatch.setattr(cycle, "run_cycle", run_cycle)
    refused(evolver("cycle"), "the suite is damaged")


def test_pausing_and_going_on(evolver: Evolver) -> None:
    assert "evolver resume" in evolver("pause", "moving house")[1]
    assert json.loads(evolver("status", "--json")[1])["not_due_because"].startswith("paused (moving house)")
    assert evolver("resume")[0] == 0
    assert json.loads(evolver("status", "--json")[1])["not_due_because"] == "0 new interactions, 20 needed"


def test_a_cycle_whose_process_is_gone_is_told_as_cut_off(evolver: Evolver, data: Path) -> None:
    def told() -> set[str]:
        status = json.loads(evolver("status", "--json")[1])["last_cycle"]["status"]
        (listed,) = json.loads(evolver("history", "--json")[1])["cycles"]
        return {status, listed["status"], json.loads(evolver("report", "1", "--json")[1])["cycle"]["status"]}

    with Ledger(data / "evolution.db") as ledger:
        with lease.held(ledger, 120.0):
            number = ledger.open_cycle().number
            ledger.stage_begins(number, "make")
            assert told() == {"running"}
            assert "last cycle: 1, running at make" in evolver("status")[1].splitlines()
        assert told() == {"cut_off"}
    lines = evolver("status")[1].splitlines()
    place = lines.index("last cycle: 1, cut off at make")
    assert lines[place + 1].strip() == "go on with it: evolver cycle"
    assert "cut off" in evolver("history")[1]
    assert "running" not in evolver("history")[1]
    assert evolver("report", "1")[1].startswith("cycle 1: cut off\n")
