"""Rounds go on while each is promoted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evolver.config import Config, EvolverConfig
from evolver.cycle import run
from evolver.cycle.report import CycleReport
from evolver.cycle.rounds import run_rounds
from evolver.store.ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "evolution.db") as opened:
        yield opened


def rounds(ledger: Ledger, ends: list[str], monkeypatch: pytest.MonkeyPatch, *, most: int, pause: int = 0) -> list[str]:
    """How the cycles ended that ran, where they would end so; paused during cycle ``pause``."""
    coming = iter(ends)

    def run_cycle(_: Config, ledger: Ledger, **__: Any) -> CycleReport:
        number = ledger.open_cycle().number
        ledger.end_cycle(number, next(coming), "a test")
        if number == pause:
            ledger.put_setting("paused", "a test")
        return CycleReport(cycle=ledger.cycles(number)[0])

    monkeypatch.setattr(run, "run_cycle", run_cycle)
    config = Config(evolver=EvolverConfig(rounds=most))
    return [report.cycle.status for report in run_rounds(config, ledger)]


@pytest.mark.parametrize(
    ("most", "ran"),
    [(1, ["promoted"]), (2, ["promoted", "promoted"]), (3, ["promoted", "promoted", "rejected"])],
)
def test_a_further_round_begins_only_after_a_promotion(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, most: int, ran: list[str]
) -> None:
    assert rounds(ledger, ["promoted", "promoted", "rejected"], monkeypatch, most=most) == ran


@pytest.mark.parametrize("end", ["rejected", "failed", "waiting", "nothing_to_do"])
def test_whatever_promotes_nothing_is_the_last(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    assert rounds(ledger, [end, "promoted"], monkeypatch, most=3) == [end]


def test_a_pause_ends_them(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rounds(ledger, ["promoted"] * 3, monkeypatch, most=3, pause=2) == ["promoted"] * 2
