"""What is due when, and that the daemon goes back by itself and outlives what can be mended."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.interaction_log import InteractionLog
from agent.serving import active_adapter
from evolver import daemon, release
from evolver.config import Config, DaemonConfig, EvolverConfig, MineConfig, MonitorConfig
from evolver.cycle import CycleReport
from evolver.daemon import check, tick, why_not_due
from evolver.ledger import Ledger
from tests.fakes.evolution import publish_adapter, tamper, turn
from toolkit.errors import UserError

NAME = "adapter-0001"
HOUR = 3600.0


@pytest.fixture
def config(tmp_path: Path) -> Config:
    evolver = EvolverConfig(
        mine=MineConfig(minimum_interactions=3),
        monitor=MonitorConfig(minimum_interactions=5),
        daemon=DaemonConfig(every_hours=2),
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

    def run_cycle(config: Config, ledger: Ledger) -> CycleReport:
        number = ledger.open_cycle().number
        ran.append(number)
        ledger.end_cycle(number, "nothing_to_do", "a test")
        return CycleReport(cycle=ledger.cycles(number)[0])

    monkeypatch.setattr(daemon, "run_cycle", run_cycle)
    return ran


def talk(config: Config, number: int, adapter: str = "base", *, well: bool = True) -> None:
    with InteractionLog(config.data_folder / "interactions.db") as log:
        for n in range(number):
            log.append(
                turn(f"{adapter} {n}", adapter=adapter, stop_reason="answered" if well else "step_limit"),
                session="s",
                source="chat",
            )


def promoted(config: Config, ledger: Ledger) -> None:
    """NAME serves, and everybody suffers from it."""
    cycle = ledger.open_cycle().number
    ledger.add_adapter(publish_adapter(config.data_folder, NAME), cycle, "base", "d")
    release.promote(NAME, config.data_folder, ledger, None, reason="test")
    ledger.end_cycle(cycle, "promoted", "", "")
    talk(config, 20)
    talk(config, 20, NAME, well=False)


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
    assert "less than 2 hours" in why_not_due(config, ledger, 101.9 * HOUR)
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
    assert active_adapter.read(config.data_folder).name == "base"
    assert said == [f"went back from {NAME} to base: troubled turns: 20 of 20 with {NAME}, 0 of 20 with base"]
    assert ledger.releases()[0].reason.startswith("troubled turns")
    assert [row.state for row in ledger.adapters()] == ["withdrawn"]
    assert cycles == []
    assert check(config, ledger) is None


def test_what_serves_without_trouble_stays(config: Config, ledger: Ledger, cycles: list[int]) -> None:
    promoted(config, ledger)
    talk(config, 200, NAME)
    tick(config, lambda _: None, now=lambda: 0.0)
    assert active_adapter.read(config.data_folder).name == NAME


@pytest.mark.usefixtures("cycles")
def test_the_daemon_outlives_what_can_be_mended_and_no_bug(
    config: Config, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    import apscheduler.schedulers.blocking as scheduling

    starts: list[str] = []
    monkeypatch.setattr(scheduling.BlockingScheduler, "start", lambda self: starts.append("start"))
    promoted(config, ledger)
    second = publish_adapter(config.data_folder, "adapter-0002")
    ledger.add_adapter(second, 1, NAME, "d")
    release.promote("adapter-0002", config.data_folder, ledger, None, reason="test")
    talk(config, 20, "adapter-0002", well=False)
    talk(config, 500, NAME)
    first = publish_adapter(config.data_folder / "copy", NAME)
    tamper(first.model_copy(update={"folder": config.data_folder / "adapters" / NAME}))
    said: list[str] = []
    daemon.run(config, said.append)
    assert starts == ["start"]
    assert f"{NAME}: adapter_model.safetensors is not the file" in said[-1]
    assert active_adapter.read(config.data_folder).name == "adapter-0002"
    for problem, fatal in ((UserError("mend it"), False), (ZeroDivisionError(), True)):

        def broken(*_: object, problem: Exception = problem, **__: object) -> None:
            raise problem

        monkeypatch.setattr(daemon, "tick", broken)
        if fatal:
            with pytest.raises(ZeroDivisionError):
                daemon.run(config, said.append)
        else:
            daemon.run(config, said.append)
            assert said[-1] == "mend it"
