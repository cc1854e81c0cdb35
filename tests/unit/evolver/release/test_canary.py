"""An adapter on trial: which sessions it gets, when it is known to be worse or not, and what follows."""

import json
import random
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.adapters import active
from agent.adapters.active import Canary
from agent.adapters.shared_pointer import open_pointer
from agent.errors import StorageError
from agent.log.interaction_log import InteractionLog
from agent.storage import database_server
from agent.turn.messages import Interaction
from evolver.cli.main import app
from evolver.config import Config, EvolverConfig, MonitorConfig, ReleaseConfig
from evolver.cycle import daemon
from evolver.cycle.schedule import why_not_due
from evolver.release import canary, release
from evolver.store.ledger import Ledger
from evolver.types import Adapter
from tests.fakes.evolution import by_session, interaction, publish_adapter, tamper, turn
from tests.fakes.postgres import PostgresServer
from toolkit.errors import UserError

NAME, SERVES = "adapter-0002", "adapter-0001"
ON_TRIAL = Canary(name=NAME, sha256="c" * 64, share=0.5)
CONFIG = ReleaseConfig()
LATER = 1e9


def lived(canary_: Canary, sessions: int, trouble: dict[str, float], seed: int = 0) -> list[Interaction]:
    """One turn in each of so many sessions, by the adapter that it belongs to; ``trouble``: how often it goes wrong."""
    chance = random.Random(seed)
    log = []
    for number in range(sessions):
        adapter = NAME if canary_.takes(f"s{number}", "") else SERVES
        stop = "step_limit" if chance.random() < trouble[adapter] else "answered"
        log.append(interaction(turn("q", adapter=adapter, stop_reason=stop), number + 1, session=f"s{number}"))  # type: ignore[arg-type]
    return log


def judged(log: list[Interaction], config: ReleaseConfig = CONFIG, now: float = 80_000.0) -> canary.Trial:
    return canary.compare_sessions(config, ON_TRIAL, SERVES, by_session(log), began=0.0, now=now)


def test_a_session_always_gets_the_same_and_the_share_is_kept() -> None:
    tenth = ON_TRIAL.model_copy(update={"share": 0.1})
    taken = [name for name in map(str, range(4000)) if tenth.takes(name, "")]
    assert 320 < len(taken) < 480
    assert all(tenth.takes(name, "") for name in taken)
    assert all(ON_TRIAL.takes(name, "") for name in taken)
    assert {name for name in taken if not tenth.takes(name, "ann")}
    assert {name for name in taken if not tenth.model_copy(update={"sha256": "d" * 64}).takes(name, "")}


def test_one_that_has_more_trouble_is_found_soon() -> None:
    found = judged(lived(ON_TRIAL, 400, {NAME: 0.6, SERVES: 0.1}))
    assert found.verdict == "worse"
    assert found.only_candidate > found.only_current
    assert found.pairs < 50


def test_the_errors_are_what_they_are_said_to_be() -> None:
    """Looked at after every pair: of 30 trials of equals few are lost, of 30 with twice the odds few are won.

    The exact errors of the test are in tests/unit/evolver/test_statistics.py.
    """
    lost = sum(judged(lived(ON_TRIAL, 500, {NAME: 0.2, SERVES: 0.2}, n)).verdict == "worse" for n in range(30))
    won = sum(judged(lived(ON_TRIAL, 500, {NAME: 1 / 3, SERVES: 0.2}, n)).verdict == "no worse" for n in range(30))
    assert lost < 4
    assert won < 4


def test_without_trouble_it_takes_as_many_pairs_as_are_asked_for() -> None:
    fine = {NAME: 0.0, SERVES: 0.0}
    assert judged(lived(ON_TRIAL, 300, fine)).verdict == "undecided"
    found = judged(lived(ON_TRIAL, 500, fine))
    assert (found.verdict, found.pairs) == ("no worse", 200)


def test_or_as_many_days() -> None:
    log = lived(ON_TRIAL, 30, {NAME: 0.0, SERVES: 0.0})
    assert judged(log, now=6.9 * 86400).verdict == "undecided"
    assert judged(log, now=7.1 * 86400).verdict == "no worse"


def test_a_session_counts_when_its_outcome_stands_and_never_changes_it() -> None:
    log = lived(ON_TRIAL, 40, {NAME: 0.0, SERVES: 0.0})
    assert judged(log, now=1000.0).pairs == 0
    before = judged(log)
    late = turn("q", adapter=NAME, stop_reason="step_limit")
    session = next(i.session for i in log if i.trajectory.adapter == NAME)
    after = [*log, interaction(late, 2000, session=session)]
    assert judged(after) == before
    in_time = [*log, interaction(late, 500, session=session)]
    assert judged(in_time).only_candidate == 1


def test_who_asks_for_an_adapter_by_name_is_not_counted() -> None:
    log = lived(ON_TRIAL, 40, {NAME: 0.0, SERVES: 0.0})
    by_name = [
        made.model_copy(update={"trajectory": made.trajectory.model_copy(update={"adapter": "base"})}) for made in log
    ]
    assert judged(by_name).pairs == 0
    assert judged([made.model_copy(update={"session": ""}) for made in log]).pairs == 0


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
