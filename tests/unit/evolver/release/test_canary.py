"""An adapter on trial: which sessions it gets, when it is known to be worse or not, and what follows."""

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.adapters import active
from agent.adapters.shared_pointer import open_pointer
from agent.errors import StorageError
from agent.log.interaction_log import InteractionLog
from agent.storage import database_server
from evolver.cli.main import app
from evolver.config import Config, EvolverConfig, MonitorConfig, ReleaseConfig
from evolver.cycle import daemon
from evolver.cycle.schedule import why_not_due
from evolver.release import release
from evolver.store.ledger import Ledger
from evolver.types import Adapter
from tests.fakes.evolution import publish_adapter, tamper, turn
from tests.fakes.postgres import PostgresServer
from tests.fakes.trial import LATER, NAME, SERVES
from toolkit.errors import UserError


@pytest.fixture
def config(tmp_path: Path) -> Config:
    settings = ReleaseConfig(canary_share=0.5, canary_sessions=10)
    monitor = MonitorConfig(cool_down_hours=48)
    return Config(data_folder=tmp_path, evolver=EvolverConfig(release=settings, monitor=monitor))


@pytest.fixture
def ledger(config: Config) -> Iterator[Ledger]:
    with Ledger(config.data_folder / "evolution.db", now=lambda: 1000.0) as opened:
        yield opened


@pytest.fixture
def begun(config: Config, ledger: Ledger) -> Adapter:
    return begin(config, ledger)


def begin(config: Config, ledger: Ledger) -> Adapter:
    """Let SERVES serve, and NAME be on trial with half of the sessions."""
    number = ledger.open_cycle().number
    made = {name: publish_adapter(config.data_folder, name) for name in (SERVES, NAME)}
    for adapter in made.values():
        ledger.add_adapter(adapter, number, "base", "d")
    release.promote(SERVES, config.data_folder, ledger, None, reason="test")
    release.begin_trial(NAME, config.data_folder, ledger, None, share=0.5, cycle=number)
    ledger.end_cycle(number, "waiting", "", "")
    return made[NAME]


def talk(config: Config, troubled: str, sessions: int = 60) -> None:
    pointer = active.read(config.data_folder)
    assert pointer.canary is not None
    with InteractionLog(config.data_folder / "interactions.db", now=lambda: 2000.0) as log:
        for number in range(sessions):
            adapter = NAME if pointer.canary.takes(f"s{number}", "") else SERVES
            made = turn("q", adapter=adapter, stop_reason="step_limit" if adapter == troubled else "answered")
            log.append(made, session=f"s{number}", source="chat")


def serving(config: Config) -> tuple[str, str]:
    return active.read(config.data_folder).name, release.on_trial(config.data_folder)


def state(ledger: Ledger) -> str:
    row = ledger.adapter(NAME)
    assert row is not None
    return row.state


@pytest.mark.usefixtures("begun")
def test_while_it_runs_no_cycle_begins_and_nothing_else_is_promoted(config: Config, ledger: Ledger) -> None:
    assert (serving(config), state(ledger)) == ((SERVES, NAME), "waiting")
    assert why_not_due(config, ledger, LATER) == f"{NAME} is on trial with a share of the sessions"
    assert release.why_it_waits(config.evolver.release, config.data_folder, ledger) == f"waits: {NAME} is on trial"
    assert ledger.releases()[0].reason == f"{NAME} answers 50% of the sessions, on trial"


@pytest.mark.usefixtures("begun")
def test_status_and_adapters_show_it(config: Config, ledger: Ledger) -> None:
    path = config.data_folder / "config.toml"
    path.write_text(f'data_folder = "{config.data_folder}"\n')
    talk(config, troubled=NAME, sessions=4)
    said = CliRunner().invoke(app, ["status", "--config", str(path)]).stdout
    assert f"serving:    {SERVES}" in said
    assert f"on trial:   {NAME}, with 50% of the sessions" in said
    told = json.loads(CliRunner().invoke(app, ["status", "--json", "--config", str(path)]).stdout)
    assert (told["on_trial"]["adapter"], told["on_trial"]["share"]) == (NAME, 0.5)
    listed = json.loads(CliRunner().invoke(app, ["adapters", "--json", "--config", str(path)]).stdout)
    assert {row["name"]: (row["active"], row["on_trial"]) for row in listed} == {
        NAME: (False, True),
        SERVES: (True, False),
    }


@pytest.mark.usefixtures("begun")
def test_no_worse_it_serves_all(config: Config, ledger: Ledger) -> None:
    said: list[str] = []
    daemon._end_of_trial(config, ledger, said.append, 5000.0)
    assert said == []
    talk(config, troubled="none of them")
    daemon._end_of_trial(config, ledger, said.append, 5000.0)
    assert (serving(config), state(ledger)) == ((NAME, ""), "promoted")
    assert (ledger.releases()[0].by, ledger.releases()[0].cycle, ledger.releases()[0].previous) == ("cycle", 1, SERVES)
    assert said[0].startswith(f"{NAME} serves all sessions now: no worse on trial: of 10 pairs")
    assert release.rollback(config.data_folder, ledger, None, reason="r") == (NAME, SERVES)


@pytest.mark.usefixtures("begun")
def test_worse_it_is_withdrawn_and_a_cool_down_begins(config: Config, ledger: Ledger) -> None:
    talk(config, troubled=NAME)
    said: list[str] = []
    daemon._end_of_trial(config, ledger, said.append, 5000.0)
    assert (serving(config), state(ledger)) == ((SERVES, ""), "withdrawn")
    newest = ledger.releases()[0]
    assert (newest.adapter, newest.previous, newest.by) == (SERVES, NAME, "monitor")
    assert newest.reason.startswith("worse on trial: of ")
    assert "the monitor went back" in why_not_due(config, ledger, 25 * 3600.0)
    assert release.rollback(config.data_folder, ledger, None, reason="r") == (SERVES, "base")


@pytest.mark.usefixtures("begun")
def test_what_is_pinned_keeps_serving(config: Config, ledger: Ledger) -> None:
    ledger.pin(SERVES, True)
    talk(config, troubled="none of them")
    daemon._end_of_trial(config, ledger, lambda _: None, 5000.0)
    assert serving(config) == (SERVES, NAME)


def test_one_that_is_tampered_with_meanwhile_never_serves_all(config: Config, ledger: Ledger, begun: Adapter) -> None:
    talk(config, troubled="none of them")
    tamper(begun)
    daemon._end_of_trial(config, ledger, lambda _: None, 5000.0)
    assert (serving(config), state(ledger)) == ((SERVES, ""), "withdrawn")


@pytest.mark.parametrize("stored", [True, False])
def test_a_machine_that_lacks_the_files_fetches_them_or_leaves_the_trial_alone(
    config: Config, postgres: PostgresServer, stored: bool
) -> None:
    url = postgres.database()
    database_server.keep(config.data_folder, url)
    try:
        with Ledger(config.data_folder / "evolution.db", now=lambda: 1000.0) as ledger:
            folder = begin(config, ledger).folder
            talk(config, troubled="none of them")
            shutil.rmtree(folder)
            if not stored:
                with closing(open_pointer(url, writable=True)) as database, database.transaction() as db:
                    db.execute("DELETE FROM adapter_files")
            said: list[str] = []
            daemon._end_of_trial(config, ledger, said.append, 5000.0)
            assert serving(config) == ((NAME, "") if stored else (SERVES, NAME))
            assert state(ledger) == ("promoted" if stored else "waiting")
            assert ("neither here nor in the database" in said[0]) is not stored
    finally:
        database_server.keep(config.data_folder, "")


@pytest.mark.usefixtures("begun")
def test_a_person_ends_it_first_and_goes_back_further_afterwards(config: Config, ledger: Ledger) -> None:
    assert release.rollback(config.data_folder, ledger, None, reason="r") == (NAME, SERVES)
    assert (serving(config), state(ledger)) == ((SERVES, ""), "withdrawn")
    assert release.rollback(config.data_folder, ledger, None, reason="r") == (SERVES, "base")
    assert not release.end_trial(NAME, config.data_folder, ledger, reason="r", by="monitor")
    assert len(ledger.releases()) == 4


@pytest.mark.usefixtures("begun")
def test_a_person_promotes_it_before_its_end(config: Config, ledger: Ledger) -> None:
    assert release.promote(NAME, config.data_folder, ledger, None, reason="evolver approve") == SERVES
    assert (serving(config), state(ledger)) == ((NAME, ""), "promoted")


def test_a_crash_between_pointer_and_ledger_loses_nothing(
    config: Config, ledger: Ledger, begun: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger's transaction fails after the pointer was written, at the beginning of a trial and at its end."""
    release.end_trial(NAME, config.data_folder, ledger, reason="again", by="person")

    def crash(*_: object) -> None:
        raise OSError("gone")

    def crashing(change: object, *arguments: object, **named: object) -> None:
        with monkeypatch.context() as patch, pytest.raises(StorageError, match="gone"):
            patch.setattr(release, "_record", crash)
            change(*arguments, **named)  # type: ignore[operator]

    rest = (config.data_folder, ledger)
    crashing(release.begin_trial, NAME, *rest, None, share=0.5, cycle=1)
    assert (serving(config), state(ledger)) == ((SERVES, NAME), "withdrawn")
    release.reconcile(*rest)
    assert (state(ledger), ledger.releases()[0].reason) == ("waiting", f"{NAME} answers 50% of the sessions, on trial")
    crashing(release.end_trial, NAME, *rest, reason="bad", by="monitor")
    release.reconcile(*rest)
    assert (serving(config), state(ledger), ledger.releases()[0].reason) == ((SERVES, ""), "withdrawn", "bad")
    assert begun.name not in [change.adapter for change in ledger.releases()]


GIVE_UP = {
    "promote another": lambda *rest: release.promote("base", *rest, reason="r"),
    "go back by name": lambda *rest: release.rollback(*rest, to="base", reason="r"),
    "the monitor goes back": lambda *rest: release.rollback(*rest, reason="r", by="monitor", only_from=SERVES),
}


@pytest.mark.usefixtures("begun")
@pytest.mark.parametrize("crashes", [False, True])
@pytest.mark.parametrize("how", GIVE_UP)
def test_whatever_else_is_put_in_service_ends_the_trial_and_withdraws_the_candidate(
    config: Config, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, how: str, crashes: bool
) -> None:
    rest = (config.data_folder, ledger, None)
    if crashes:

        def crash(*_: object) -> None:
            raise OSError("gone")

        with monkeypatch.context() as patch, pytest.raises(StorageError, match="gone"):
            patch.setattr(release, "_record", crash)
            GIVE_UP[how](*rest)
        assert (serving(config), state(ledger)) == (("base", ""), "waiting")
        release.reconcile(config.data_folder, ledger)
    else:
        GIVE_UP[how](*rest)
    assert (serving(config), state(ledger)) == (("base", ""), "withdrawn")
    release.promote(SERVES, *rest, reason="r")
    release.promote(NAME, *rest, reason="r")
    assert state(ledger) == "promoted"
    release.promote(SERVES, *rest, reason="r")
    assert state(ledger) == "promoted"


def test_a_trial_needs_what_was_registered(config: Config, ledger: Ledger) -> None:
    with pytest.raises(UserError, match="there is no adapter"):
        release.begin_trial(NAME, config.data_folder, ledger, None, share=0.5, cycle=1)
