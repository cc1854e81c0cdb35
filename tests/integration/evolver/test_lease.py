"""One process runs a cycle at a time, and one that was silent too long writes nothing more."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from evolver import lease
from evolver.errors import Busy, Fenced
from evolver.ledger import Ledger

SECONDS = 60.0


class Clock:
    """Seconds since boot, as the test wants them."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "evolution.db"


@pytest.fixture
def first(path: Path) -> Iterator[Ledger]:
    with Ledger(path) as opened:
        yield opened


@pytest.fixture
def second(path: Path) -> Iterator[Ledger]:
    with Ledger(path) as opened:
        yield opened


def test_two_at_once_one_works(first: Ledger, second: Ledger, clock: Clock) -> None:
    assert lease.holder(second, SECONDS, clock=clock) is None
    with lease.held(first, SECONDS, clock=clock):
        assert lease.holder(second, SECONDS, clock=clock) == os.getpid()
        with pytest.raises(Busy, match=f"process {os.getpid()} runs a cycle"), lease.held(second, SECONDS, clock=clock):
            pytest.fail("both have it")
    assert lease.holder(second, SECONDS, clock=clock) is None
    with lease.held(second, SECONDS, clock=clock):
        second.open_cycle()


def test_one_that_was_silent_past_its_lease_is_fenced(first: Ledger, second: Ledger, clock: Clock) -> None:
    with lease.held(first, SECONDS, clock=clock) as check:
        number = first.open_cycle().number
        check()
        clock.now += SECONDS + 1
        with lease.held(second, SECONDS, clock=clock):
            assert second.open_cycle().number == number
            for write in (
                lambda: first.stage_begins(number, "make"),
                lambda: first.note(number, "make", {}),
                lambda: first.record_release("adapter-0001", "base", "late"),
                lambda: first.end_cycle(number, "promoted", "late"),
                first.open_cycle,
                check,
            ):
                with pytest.raises(Fenced):
                    write()
            second.end_cycle(number, "rejected", "in time")
    assert [(c.status, c.reason) for c in second.cycles()] == [("rejected", "in time")]
    assert second.releases() == []


def test_one_that_was_silent_and_not_missed_goes_on(first: Ledger, second: Ledger, clock: Clock) -> None:
    with lease.held(first, SECONDS, clock=clock) as check:
        clock.now += SECONDS + 1
        check()
        first.open_cycle()
        with pytest.raises(Busy), lease.held(second, SECONDS, clock=clock):
            pytest.fail("both have it")


def test_the_heart_beats(first: Ledger, second: Ledger) -> None:
    def renewed() -> float:
        with second.together() as db:
            return db.execute("SELECT renewed_at FROM lease").fetchone()[0]

    with lease.held(first, 1.0):
        begun = renewed()
        while renewed() == begun:  # the test's own time limit ends this
            time.sleep(0.02)


def test_a_holder_that_is_gone_is_not_waited_for(path: Path, second: Ledger) -> None:
    script = (
        "import os, sys; from pathlib import Path; from evolver import lease; from evolver.ledger import Ledger\n"
        "with Ledger(Path(sys.argv[1])) as ledger, lease.held(ledger, 3600): os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, cwd=Path(__file__).parents[3])
    with second.together() as db:
        assert db.execute("SELECT holder FROM lease").fetchone()[0] != ""
    with lease.held(second, 3600):
        second.open_cycle()


@pytest.mark.parametrize("moved", [{"boot": "another boot"}, {"started": "1"}])
def test_another_boot_and_another_process_of_that_number_hold_nothing(
    first: Ledger, second: Ledger, clock: Clock, moved: dict[str, str]
) -> None:
    with lease.held(first, SECONDS, clock=clock):
        with second.together() as db:
            row = lease.Holder.model_validate_json(db.execute("SELECT holder FROM lease").fetchone()[0])
            db.execute("UPDATE lease SET holder = ?", (row.model_copy(update=moved).model_dump_json(),))
        with lease.held(second, SECONDS, clock=clock):
            pass
