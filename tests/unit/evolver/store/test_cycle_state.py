"""An open cycle runs only while a process holds the lease for a cycle of its tenant."""

from pathlib import Path

import pytest

from evolver.store import lease
from evolver.store.cycle_state import state_of, worker_of
from evolver.store.ledger import Ledger
from evolver.store.ledger_rows import CycleRow

SECONDS = 60.0


def open_cycle(path: Path, tenant: str = "") -> CycleRow:
    with Ledger(path, tenant=tenant) as ledger:
        return ledger.open_cycle()


def state(path: Path, cycle: CycleRow) -> str:
    with Ledger(path) as ledger:
        return state_of(cycle, lease.holder(ledger, SECONDS))


def test_an_open_cycle_runs_while_the_lease_is_held_and_is_cut_off_after_it(tmp_path: Path) -> None:
    path = tmp_path / "evolution.db"
    with Ledger(path) as ledger:
        with lease.held(ledger, SECONDS):
            cycle = ledger.open_cycle()
            assert state(path, cycle) == "running"
        assert state(path, cycle) == "cut_off"
        assert worker_of(cycle, lease.holder(ledger, SECONDS)) is None


@pytest.mark.parametrize(("works", "lies"), [("", "sales"), ("sales", ""), ("sales", "care")])
def test_of_two_open_cycles_the_one_of_the_holders_tenant_runs(tmp_path: Path, works: str, lies: str) -> None:
    path = tmp_path / "evolution.db"
    stopped = open_cycle(path, lies)
    with Ledger(path, tenant=works) as ledger, lease.held(ledger, SECONDS):
        running = ledger.open_cycle()
        assert (state(path, running), state(path, stopped)) == ("running", "cut_off")


def test_a_process_that_only_keeps_cycles_away_runs_none(tmp_path: Path) -> None:
    path = tmp_path / "evolution.db"
    cycle = open_cycle(path)
    with Ledger(path) as ledger, lease.held(ledger, SECONDS, runs_cycle=False):
        assert lease.holder(ledger, SECONDS) is not None
        assert state(path, cycle) == "cut_off"


def test_a_cycle_that_ended_keeps_its_end_while_another_runs(tmp_path: Path) -> None:
    path = tmp_path / "evolution.db"
    with Ledger(path) as ledger, lease.held(ledger, SECONDS):
        ledger.end_cycle(ledger.open_cycle().number, "rejected", "no gain")
        ended = ledger.cycles(1)[0]
        ledger.open_cycle()
        assert state(path, ended) == "rejected"


def test_a_holder_of_an_earlier_version_runs_everybodys_cycle(tmp_path: Path) -> None:
    path = tmp_path / "evolution.db"
    cycle = open_cycle(path)
    with Ledger(path) as ledger, lease.held(ledger, SECONDS):
        with ledger.reading() as db:
            (written,) = db.execute("SELECT holder FROM lease").fetchone()
        assert "tenant" not in written  # nor can an earlier version read one that says more
        assert "runs_cycle" not in written
        assert state(path, cycle) == "running"
