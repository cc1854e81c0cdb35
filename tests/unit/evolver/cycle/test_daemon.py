"""What is due when, and that the daemon goes back by itself and outlives what can be mended."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.adapters import active
from agent.log.interaction_log import InteractionLog
from evolver.config import Config, DaemonConfig, EvolverConfig, MineConfig, MonitorConfig
from evolver.cycle import daemon
from evolver.cycle import run as cycle
from evolver.cycle.daemon import Say, check
from evolver.cycle.report import CycleReport
from evolver.cycle.schedule import why_not_due
from evolver.release import release
from evolver.store.ledger import Ledger
from tests.fakes.evolution import publish_adapter, tamper, turn
from tests.fakes.waiting import wait_until
from toolkit.errors import UserError

NAME = "adapter-0001"
HOUR = 3600.0


@pytest.fixture
def config(tmp_path: Path) -> Config:
    evolver = EvolverConfig(
        mine=MineConfig(minimum_interactions=3),
        monitor=MonitorConfig(minimum_interactions=5),
        daemon=DaemonConfig(every_hours=2, idle_minutes=0, retry_minutes=120),
    )
    return Config(data_folder=tmp_path, evolver=evolver)


@pytest.fixture
def ledger(config: Config) -> Iterator[Ledger]:
    with Ledger(config.data_folder / "evolution.db", now=lambda: 100 * HOUR) as opened:
        yield opened


@pytest.fixture
def cycles(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the cycles that were run; each does nothing."""
    ran: list[int] = []

    def run_cycle(config: Config, ledger: Ledger, **_: Any) -> CycleReport:
        number = ledger.open_cycle().number
        ran.append(number)
        ledger.end_cycle(number, "nothing_to_do", "a test")
        return CycleReport(cycle=ledger.cycles(number)[0])

    monkeypatch.setattr(cycle, "run_cycle", run_cycle)
    return ran


def talk(config: Config, number: int, adapter: str = "base", *, well: bool = True) -> None:
    with InteractionLog(config.data_folder / "interactions.db") as log:
        for n in range(number):
            log.append(
                turn(f"{adapter} {n}", adapter=adapter, stop_reason="answered" if well else "step_limit"),
                session=f"{adapter} {n}",
                source="chat",
            )


def served(config: Config, ledger: Ledger) -> None:
    """NAME serves; nobody has asked anything."""
    cycle = ledger.open_cycle().number
    ledger.add_adapter(publish_adapter(config.data_folder, NAME), cycle, "base", "d")
    release.promote(NAME, config.data_folder, ledger, None, reason="test")
    ledger.end_cycle(cycle, "promoted", "", "")


def promoted(config: Config, ledger: Ledger) -> None:
    """NAME serves, and everybody suffers from it."""
    served(config, ledger)
    talk(config, 20)
    talk(config, 20, NAME, well=False)


def tick(config: Config, say: Say, *, now: Callable[[], float]) -> None:
    """What the daemon does at one moment."""
    daemon.watch(config, say, now=now)
    daemon.evolve(config, say, now=now)


def test_a_cycle_waits_for_enough_that_is_new(config: Config, ledger: Ledger) -> None:
    assert why_not_due(config, ledger, 0) == "0 new interactions, 3 needed"
    talk(config, 2)
    assert why_not_due(config, ledger, 0) == "2 new interactions, 3 needed"
    talk(config, 1)
    assert why_not_due(config, ledger, 0) == ""
    with InteractionLog.open_readonly(config.data_folder / "interactions.db") as log:
        newest = log.read()[-1].id
    ledger.end_cycle(ledger.open_cycle().number, "rejected", "", newest)
    assert why_not_due(config, ledger, 200 * HOUR) == "0 new interactions, 3 needed"


def test_a_cycle_waits_for_its_time_unless_one_was_cut_off(config: Config, ledger: Ledger) -> None:
    talk(config, 5)
    number = ledger.open_cycle().number
    assert why_not_due(config, ledger, 100 * HOUR) == ""
    ledger.end_cycle(number, "failed", "")
    assert "1 failed in a row" in why_not_due(config, ledger, 101.9 * HOUR)
    assert why_not_due(config, ledger, 102 * HOUR) == ""


def test_a_tick_runs_a_cycle_when_it_is_due_and_only_then(config: Config, cycles: list[int]) -> None:
    said: list[str] = []
    tick(config, said.append, now=lambda: 0.0)
    assert (cycles, said) == ([], [])
    talk(config, 3)
    tick(config, said.append, now=lambda: 0.0)
    tick(config, said.append, now=lambda: HOUR)
    assert cycles == [1]
    assert said == ["a cycle begins", "cycle 1: nothing_to_do: a test"]
    tick(config, said.append, now=lambda: 2 * HOUR)
    assert cycles == [1, 2]


def test_a_tick_goes_back_when_people_fare_worse(config: Config, ledger: Ledger, cycles: list[int]) -> None:
    promoted(config, ledger)
    said: list[str] = []
    tick(config, said.append, now=lambda: 900 * HOUR)
    assert active.read(config.data_folder).name == "base"
    assert said == [f"went back from {NAME} to base: turns not answered: 20 of 20 with {NAME}, 0 of 20 with base"]
    newest = ledger.releases()[0]
    assert (newest.reason.startswith("turns not answered"), newest.by) == (True, "monitor")
    assert [row.state for row in ledger.adapters()] == ["withdrawn"]
    assert cycles == []
    assert check(config, ledger) is None


def test_it_goes_back_once_and_then_waits_out_the_cool_down(config: Config, ledger: Ledger, cycles: list[int]) -> None:
    """Also what it went back to does badly; walking on to the base model in a bad hour would help nobody."""
    promoted(config, ledger)
    ledger.add_adapter(publish_adapter(config.data_folder, "adapter-0002"), 1, NAME, "d")
    release.promote("adapter-0002", config.data_folder, ledger, None, reason="test")
    talk(config, 400, NAME)
    talk(config, 20, "adapter-0002", well=False)
    said: list[str] = []
    tick(config, said.append, now=lambda: 900 * HOUR)
    assert active.read(config.data_folder).name == NAME
    talk(config, 900, NAME, well=False)
    tick(config, said.append, now=lambda: 901 * HOUR)
    assert active.read(config.data_folder).name == NAME
    assert (len(said), cycles) == (1, [])
    tick(config, said.append, now=lambda: 925 * HOUR)
    assert active.read(config.data_folder).name == "base"


def test_what_is_pinned_is_left_to_people(config: Config, ledger: Ledger, cycles: list[int]) -> None:
    promoted(config, ledger)
    ledger.pin(NAME, True)
    tick(config, lambda _: None, now=lambda: 900 * HOUR)
    assert active.read(config.data_folder).name == NAME


def test_two_daemons_that_find_the_same_go_back_once(config: Config, ledger: Ledger) -> None:
    promoted(config, ledger)
    for _ in range(2):
        release.rollback(config.data_folder, ledger, None, reason="bad", by="monitor", only_from=NAME)
    assert [change.adapter for change in ledger.releases()] == ["base", NAME]


def test_what_serves_without_trouble_stays(config: Config, ledger: Ledger, cycles: list[int]) -> None:
    promoted(config, ledger)
    talk(config, 200, NAME)
    tick(config, lambda _: None, now=lambda: 0.0)
    assert active.read(config.data_folder).name == NAME


def test_what_served_before_is_compared_however_long_ago_it_did(
    config: Config, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of the newest interactions is of the base model."""
    promoted(config, ledger)
    monkeypatch.setattr(daemon, "_SEEN", 15)
    finding = check(config, ledger)
    assert finding is not None
    assert finding.reason == f"turns not answered: 15 of 15 with {NAME}, 0 of 15 with base"


def test_what_was_wrong_before_a_person_promoted_it_again_does_not_count(config: Config, ledger: Ledger) -> None:
    ledger.now = time.time
    promoted(config, ledger)
    assert check(config, ledger) is not None
    release.rollback(config.data_folder, ledger, None, reason="test")
    time.sleep(0.002)  # ids are of milliseconds
    release.promote(NAME, config.data_folder, ledger, None, reason="it was the network")
    assert check(config, ledger) is None
    talk(config, 5, NAME, well=False)
    assert check(config, ledger) is not None


class Interrupted(BaseException):
    """Ctrl-C."""


def impatient(config: Config) -> Config:
    monitor = config.evolver.monitor.model_copy(update={"every_minutes": 0.001})
    return config.model_copy(update={"evolver": config.evolver.model_copy(update={"monitor": monitor})})


def test_what_serves_is_watched_while_a_cycle_runs(
    config: Config, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    served(config, ledger)
    said: list[str] = []

    def long_cycle(*_: object, **__: object) -> CycleReport:
        assert active.read(config.data_folder).name == NAME
        talk(config, 20)
        talk(config, 20, NAME, well=False)
        wait_until(lambda: active.read(config.data_folder).name != NAME)
        wait_until(lambda: len(said) >= 3)  # it is said after the pointer was written
        raise Interrupted

    monkeypatch.setattr(cycle, "run_cycle", long_cycle)
    monkeypatch.setattr(daemon, "why_not_due", lambda *_: "")
    with pytest.raises(Interrupted):
        daemon.run(impatient(config), said.append)
    assert said[1] == "a cycle begins"
    assert said[2].startswith(f"went back from {NAME} to base: turns not answered")


def test_the_daemon_outlives_what_can_be_mended(
    config: Config, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise Interrupted

    monkeypatch.setattr(daemon, "evolve", interrupted)
    promoted(config, ledger)
    second = publish_adapter(config.data_folder, "adapter-0002")
    ledger.add_adapter(second, 1, NAME, "d")
    release.promote("adapter-0002", config.data_folder, ledger, None, reason="test")
    talk(config, 20, "adapter-0002", well=False)
    talk(config, 500, NAME)
    first = publish_adapter(config.data_folder / "copy", NAME)
    tamper(first.model_copy(update={"folder": config.data_folder / "adapters" / NAME}))
    said: list[str] = []
    with pytest.raises(Interrupted):
        daemon.run(config, said.append)
    assert f"{NAME}: adapter_model.safetensors is not the file" in said[-1]
    assert active.read(config.data_folder).name == "adapter-0002"


@pytest.mark.parametrize("where", ["watch", "evolve"])
def test_it_outlives_user_errors_and_no_bug_in_either_thread(
    config: Config, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    calls: list[str] = []

    def troubled(*_: object) -> None:
        calls.append(where)
        if len(calls) <= 2:
            raise UserError(f"mend it {len(calls)}")
        raise ZeroDivisionError

    monkeypatch.setattr(daemon, "watch", lambda *_: None)
    monkeypatch.setattr(daemon, "evolve", lambda *_: None)
    monkeypatch.setattr(daemon, where, troubled)
    said: list[str] = []
    with pytest.raises(ZeroDivisionError):
        daemon.run(impatient(config), said.append)
    assert said[1:] == ["mend it 1", "mend it 2"]
