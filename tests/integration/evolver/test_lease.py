"""One process runs a cycle at a time, and one that was silent too long writes nothing more."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import StorageError
from agent.storage.database_server import server_of
from evolver.errors import Busy, Fenced
from evolver.store import lease
from evolver.store.ledger import Ledger
from tests.fakes.waiting import wait_until
from toolkit.errors import PrerequisiteError

pytestmark = pytest.mark.usefixtures("each_database")

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
        assert str(lease.holder(second, SECONDS, clock=clock)) == f"process {os.getpid()}"
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
        wait_until(lambda: renewed() != begun)


def test_a_holder_that_is_gone_is_not_waited_for(path: Path, second: Ledger) -> None:
    script = (
        "import os, sys; from pathlib import Path\n"
        "from evolver.store import lease; from evolver.store.ledger import Ledger\n"
        "from agent.storage import database_server\n"
        "path = Path(sys.argv[1]); database_server.keep(path.parent, sys.argv[2])\n"
        "with Ledger(path) as ledger, lease.held(ledger, 3600): os._exit(0)"
    )
    command = [sys.executable, "-c", script, str(path), server_of(path.parent)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[3])
    with second.together() as db:
        assert db.execute("SELECT holder FROM lease").fetchone()[0] != ""
    with lease.held(second, 3600):
        second.open_cycle()


def held_by_another(ledger: Ledger, *, beat: float = 0.0, **moved: str) -> None:
    """Let the lease be held by somebody who is not this process, renewed ``beat`` seconds ago by the database."""
    with ledger.together() as db:
        row = lease.Holder.model_validate_json(db.execute("SELECT holder FROM lease").fetchone()[0])
        db.execute("UPDATE lease SET holder = ?", (row.model_copy(update=moved).model_dump_json(),))
        db.execute("UPDATE lease SET seen_at = unixepoch('now', 'subsec') - ?", (beat,))


def test_another_process_of_that_number_holds_nothing(first: Ledger, second: Ledger, clock: Clock) -> None:
    with lease.held(first, SECONDS, clock=clock):
        held_by_another(second, started="1")
        with lease.held(second, SECONDS, clock=clock):
            pass


@pytest.mark.parametrize("since_boot", [3.0, 10_000.0])
def test_a_fresh_beat_of_another_machine_counts_however_long_either_has_been_up(
    first: Ledger, second: Ledger, clock: Clock, since_boot: float
) -> None:
    with lease.held(first, SECONDS, clock=clock):
        held_by_another(second, boot="another machine", host="shop-2", beat=SECONDS / 2)
        clock.now = since_boot
        who = f"process {os.getpid()} on shop-2"
        assert str(lease.holder(second, SECONDS, clock=clock)) == who
        with (
            pytest.raises(Busy, match=f"{who} runs a cycle; wait for its end, or stop it"),
            lease.held(second, SECONDS, clock=clock),
        ):
            pytest.fail("both have it")


@pytest.mark.parametrize("beat", [SECONDS + 5, -SECONDS - 5, 1e9])
def test_one_of_another_machine_that_is_silent_holds_nothing(
    first: Ledger, second: Ledger, clock: Clock, beat: float
) -> None:
    """Also one whose beat lies in the future: its clock was wrong."""
    with lease.held(first, SECONDS, clock=clock):
        held_by_another(second, boot="another machine", beat=beat)
        with lease.held(second, SECONDS, clock=clock), pytest.raises(Fenced):
            first.open_cycle()


def test_the_database_says_when_the_heart_beat(first: Ledger, second: Ledger) -> None:
    def age() -> float:
        with second.together() as db:
            return db.execute("SELECT unixepoch('now', 'subsec') - seen_at FROM lease").fetchone()[0]

    with lease.held(first, 1.0):
        with second.together() as db:
            db.execute("UPDATE lease SET seen_at = 0")
        wait_until(lambda: age() < 1.0)


def test_a_heart_beats_on_after_what_an_operator_can_mend(first: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    renew, beats = lease._Heartbeat._renew_if_mine, list[float]()
    problems = iter([StorageError("the disk is full"), PrerequisiteError("fsync is off")])

    def renewed(heart: lease._Heartbeat) -> None:
        if problem := next(problems, None):
            raise problem
        renew(heart)
        beats.append(heart._renewed)

    monkeypatch.setattr(lease._Heartbeat, "_renew_if_mine", renewed)
    with lease.held(first, 0.2):
        wait_until(lambda: bool(beats))
