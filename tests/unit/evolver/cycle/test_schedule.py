"""When a cycle is due: computed from the ledger, whatever the clock did."""

import datetime as dt
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from agent.log.interaction_log import InteractionLog
from evolver.config import Config, DaemonConfig, EvolverConfig, MineConfig, MonitorConfig
from evolver.cycle.schedule import why_not_due
from evolver.store import lease
from evolver.store.ledger import Ledger
from tests.fakes.evolution import turn
from toolkit.config import load_config
from toolkit.errors import ConfigError

HOUR, DAY = 3600.0, 86400.0
NOON = dt.datetime(2026, 3, 10, 12, tzinfo=dt.UTC).timestamp()
BERLIN = ZoneInfo("Europe/Berlin")


class World:
    """``now`` is the time; ``due`` says whether a cycle is; ``cycle`` runs one that takes no time."""

    def __init__(self, data: Path) -> None:
        self.data, self.now = data, NOON
        self.ledger = Ledger(data / "evolution.db", now=lambda: self.now)
        self.set()

    def set(self, **daemon: object) -> None:
        self.config = Config(
            data_folder=self.data,
            evolver=EvolverConfig(
                mine=MineConfig(minimum_interactions=1),
                monitor=MonitorConfig(cool_down_hours=10),
                daemon=DaemonConfig.model_validate({"idle_minutes": 0, **daemon}),
            ),
        )

    def ask(self) -> None:
        with InteractionLog(self.data / "interactions.db", now=lambda: self.now) as log:
            log.append(turn("hello"), session="s", source="chat")

    def why(self) -> str:
        return why_not_due(self.config, self.ledger, self.now)

    def cycle(self, status: str = "rejected") -> None:
        self.ledger.end_cycle(self.ledger.open_cycle().number, status, "")  # type: ignore[arg-type]

    def runs(self, hours: float, *, step: float = 600.0) -> list[float]:
        """The times at which a daemon that looks every ``step`` seconds ran cycles."""
        ran, end = [], self.now + hours * HOUR
        while self.now < end:
            if not self.why():
                ran.append(self.now)
                self.cycle()
            self.now += step
        return ran


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.ask()
    yield made
    made.ledger.__exit__()


def test_an_interval_is_kept(world: World) -> None:
    world.set(every_hours=6)
    assert [(at - NOON) / HOUR for at in world.runs(24)] == [0, 6, 12, 18]


def test_cron_times_are_kept_and_what_was_missed_is_due_once(world: World) -> None:
    world.set(cron="30 2 * * *")
    world.cycle()
    assert [dt.datetime.fromtimestamp(at, dt.UTC).strftime("%d %H:%M") for at in world.runs(48)] == [
        "11 02:30",
        "12 02:30",
    ]
    world.now += 20 * DAY
    assert len(world.runs(2)) == 1


@pytest.mark.parametrize("weekday", ["0", "7", "sun"])
def test_cron_counts_weekdays_as_crontab_does(world: World, weekday: str) -> None:
    world.set(cron=f"30 2 * * {weekday}")
    world.cycle()
    world.ask()
    assert [dt.datetime.fromtimestamp(at, dt.UTC).strftime("%a %H:%M") for at in world.runs(9 * 24)] == ["Sun 02:30"]


def test_before_the_first_cycle_cron_is_kept_too(world: World, tmp_path: Path) -> None:
    """People have asked since noon; a new installation does not begin at once."""
    world.set(cron="0 3 * * *")
    assert world.why() == "the next cycle is 2026-03-11 03:00 UTC"
    (first,) = world.runs(24)
    assert dt.datetime.fromtimestamp(first, dt.UTC).strftime("%d %H:%M") == "11 03:00"
    (tmp_path / "empty").mkdir()
    empty = World(tmp_path / "empty")
    empty.set(cron="0 3 * * *")
    assert empty.why() == "the next cycle is 2026-03-11 03:00 UTC"
    empty.ledger.__exit__()


def test_the_first_time_of_cron_that_was_missed_is_due(world: World) -> None:
    world.set(cron="0 3 * * *")
    world.now += DAY
    assert world.why() == ""


def test_after_a_failure_the_next_try_is_a_time_that_cron_names_and_not_before_the_pause(world: World) -> None:
    world.set(cron="0 */6 * * *", retry_minutes=60)
    tries = []
    world.cycle("failed")
    while len(tries) < 5:
        world.now += 600
        if not world.why():
            tries.append(dt.datetime.fromtimestamp(world.now, dt.UTC).strftime("%d %H:%M"))
            world.cycle("failed")
    assert tries == ["10 18:00", "11 00:00", "11 06:00", "11 18:00", "12 12:00"]


@pytest.mark.parametrize("day", [dt.date(2026, 3, 28), dt.date(2026, 10, 24), dt.date(2026, 6, 1)])
def test_a_night_of_changing_clocks_has_one_cycle(world: World, day: dt.date) -> None:
    """02:30 does not exist on one of them, and exists twice on another."""
    world.set(cron="30 2 * * *", timezone="Europe/Berlin")
    world.now = dt.datetime.combine(day, dt.time(12), BERLIN).timestamp()
    world.cycle()
    ran = [dt.datetime.fromtimestamp(at, BERLIN) for at in world.runs(72)]
    assert [at.date() for at in ran] == [day + dt.timedelta(days=n) for n in (1, 2, 3)]


@pytest.mark.parametrize("schedule", [{"every_hours": 24}, {"cron": "0 12 * * *"}])
@pytest.mark.parametrize("jump", [HOUR, -HOUR, 30 * DAY, -30 * DAY, 365 * DAY, -365 * DAY])
def test_however_the_clock_jumps_there_is_one_cycle_in_the_days_after_and_not_two_at_once(
    world: World, schedule: dict[str, object], jump: float
) -> None:
    world.set(**schedule)
    world.cycle()
    world.now += 600 + jump
    ran = world.runs(3 * 24, step=1800)
    assert 2 <= len(ran) <= 4
    assert all(later - earlier >= 11 * HOUR for earlier, later in pairwise(ran[1:]))


def test_hours_of_the_day_also_over_midnight(world: World) -> None:
    world.set(every_hours=1, between="22:00-02:00")
    hours = {dt.datetime.fromtimestamp(at, dt.UTC).hour for at in world.runs(24)}
    assert hours == {22, 23, 0, 1}
    world.set(between="09:00-10:00")
    assert "09:00-10:00" in world.why()


def test_after_failures_it_waits_twice_as_long_each_time_up_to_the_period(world: World) -> None:
    world.set(every_hours=4, retry_minutes=30)
    waits = []
    for _ in range(6):
        world.cycle("failed")
        begun = world.now
        while world.why():
            world.now += 600
        waits.append((world.now - begun) / 60)
    assert waits == [30, 60, 120, 240, 240, 240]
    world.cycle("failed")
    assert "7 failed in a row" in world.why()
    world.now += 4 * HOUR
    world.cycle("rejected")
    world.cycle("failed")
    assert "1 failed in a row" in world.why()


def test_busy_people_come_first_for_a_while(world: World) -> None:
    world.set(idle_minutes=5, defer_hours=3)
    assert "people are asking" in world.why()
    world.now += 301
    assert world.why() == ""
    waited = 0.0
    while waited < 4 * HOUR:
        world.ask()
        if not world.why():
            break
        world.now += 120
        waited += 120
    assert 2.8 * HOUR < waited < 3.2 * HOUR


def test_paused_and_resumed(world: World) -> None:
    assert world.why() == ""
    world.ledger.put_setting("paused", "moving house")
    assert "moving house" in world.why()
    assert "evolver resume" in world.why()
    world.ledger.put_setting("paused", "")
    assert world.why() == ""


def test_after_the_monitor_went_back_nothing_new_comes_for_a_while(world: World) -> None:
    world.ledger.record_release("base", "adapter-0001", "turns called bad", by="monitor")
    assert "the monitor went back" in world.why()
    world.now += 10 * HOUR
    assert world.why() == ""


def test_while_another_process_has_the_lease_no_cycle_is_due(world: World, tmp_path: Path) -> None:
    with Ledger(tmp_path / "evolution.db") as other, lease.held(other, 60):
        assert "runs a cycle" in world.why()
    with Ledger(tmp_path / "evolution.db") as other, lease.held(other, 60, runs_cycle=False):
        assert "deletes or copies data" in world.why()
    assert world.why() == ""


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('cron = "every day"', "cron"),
        ('timezone = "Mars"', "timezone"),
        ('between = "9-10"', "between"),
        ('between = "25:00-26:00"', "between"),
    ],
)
def test_a_schedule_that_means_nothing_is_refused(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f"[evolver.daemon]\n{text}\n")
    with pytest.raises(ConfigError, match=f"evolver.daemon.{named}"):
        load_config(path, Config)
