"""A ledger and the pointer move from files to Postgres: whole, once, and only to where nothing else is."""

import tomllib
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from agent.adapters import active, shared_pointer
from agent.adapters.active import ActiveAdapter
from agent.config import AgentConfig, Config
from agent.db_commands import GROUP
from agent.errors import StorageError
from agent.log.copy_log import copy_log
from agent.log.interaction_log import InteractionLog
from evolver.errors import Busy
from evolver.store.copy_ledger import TABLES, copy_ledger
from evolver.store.lease import held
from evolver.store.ledger import Ledger
from evolver.store.seen_tools import ToolCatalogue
from evolver.tool_making.pool import ToolPool
from tests.fakes.client_traffic import TOOLS, asked, log_turn
from tests.fakes.evolution import eval_report, publish_adapter, turn
from tests.fakes.postgres import PostgresServer
from tests.unit.evolver.tool_making.test_pool import add, made
from toolkit.errors import UserError

ROOT = Path(__file__).parents[4]


def in_files(data: Path) -> Config:
    return Config(data_folder=data)


def moved(data: Path, url: str) -> Config:
    return Config(data_folder=data, agent=AgentConfig(database=url))


def fill(data: Path) -> None:
    """Write something into every table, and let an adapter serve."""
    in_files(data)
    with Ledger(data / "evolution.db") as ledger, InteractionLog(data / "interactions.db") as log:
        number = ledger.open_cycle().number
        ledger.stage_begins(number, "mine")
        ledger.stage_ends(number, "mine", {"tasks": 3})
        adapter = publish_adapter(data, "adapter-0001")
        ledger.add_adapter(adapter, number, "base", "d" * 64)
        ledger.pin("adapter-0001", pinned=True)
        ledger.record_release("adapter-0001", "base", "cycle 1", by="cycle", cycle=number)
        ledger.record_evaluation(eval_report([True], model="base"))
        ledger.mark_adapter("adapter-0001", "odd")
        ledger.put_setting("paused", "because")
        add(ToolPool(data, ledger), made())
        log_turn(log, asked("weather", answer="It rains."), owner="team", tools=TOOLS)
        ToolCatalogue(ledger).refresh(log)
    active.write(data, ActiveAdapter(name="adapter-0001", sha256=adapter.sha256))


def contents(data: Path) -> list[Any]:
    with Ledger(data / "evolution.db") as ledger:
        return [
            ledger.cycles(),
            ledger.stage_seconds(1),
            ledger.adapters(),
            ledger.releases(),
            ledger.evaluations(),
            ledger.marks(),
            ledger.setting("paused"),
            ToolPool(data, ledger).tools(),
            ToolCatalogue(ledger).tools(),
            active.read(data),
        ]


def copy(config: Config) -> list[tuple[int, ...]]:
    """Copy, and return how many rows were new, changed and removed in each table."""
    return [tuple(one[1:4]) for one in copy_ledger(config, lambda line: None)]


def test_everything_is_there_and_again_changes_nothing(tmp_path: Path, postgres: PostgresServer) -> None:
    data, url = tmp_path / "data", postgres.database()
    fill(data)
    before = contents(data)
    copied = copy_ledger(moved(data, url), lambda line: None)
    assert [one.table for one in copied] == [table.name for table in TABLES]
    assert min(one.new for one in copied) >= 1
    assert contents(data) == before
    assert before[-1].name == "adapter-0001"
    assert copy(moved(data, url)) == [(0, 0, 0)] * len(TABLES)
    with closing(shared_pointer.open_pointer(url)) as database:
        shared_pointer.fetch_files(database, tmp_path / "other", "adapter-0001", before[-1].sha256)
    with Ledger(data / "evolution.db") as ledger:
        ledger.record_release("base", "adapter-0001", "back")
        ledger.record_evaluation(eval_report([True], model="adapter-0001"))
        assert ledger.releases()[0].number == 2


def test_what_changed_in_the_file_since_is_copied_again(tmp_path: Path, postgres: PostgresServer) -> None:
    data, url = tmp_path / "data", postgres.database()
    fill(data)
    copy(moved(data, url))
    in_files(data)
    with Ledger(data / "evolution.db") as ledger:
        ledger.put_setting("paused", "")
        ledger.record_release("base", "adapter-0001", "back")
    active.write(data, ActiveAdapter())
    changes = dict(zip([table.name for table in TABLES], copy(moved(data, url)), strict=True))
    assert (changes["settings"], changes["releases"], changes["cycles"]) == ((0, 1, 0), (1, 0, 0), (0, 0, 0))
    assert active.read(data) == ActiveAdapter()


def test_one_that_is_in_use_is_refused_once_the_file_changes_too(tmp_path: Path, postgres: PostgresServer) -> None:
    data, url = tmp_path / "data", postgres.database()
    fill(data)
    copy(moved(data, url))
    with Ledger(data / "evolution.db") as ledger:
        ledger.put_setting("paused", "in use")
    assert copy(moved(data, url)) == [(0, 0, 0)] * len(TABLES)
    in_files(data)
    with Ledger(data / "evolution.db") as ledger:
        ledger.put_setting("paused", "in the file")
    with pytest.raises(UserError, match="its ledger is in use already"):
        copy(moved(data, url))
    with Ledger(data / "evolution.db") as ledger:
        assert ledger.setting("paused") == "in use"


@pytest.mark.parametrize("tenant", ["", "sales"])
def test_one_that_was_copied_before_there_were_tenants_is_copied_again(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, tenant: str
) -> None:
    data, url = tmp_path / "data", postgres.database()
    fill(data)
    tables = [table._replace(columns=tuple(name for name in table.columns if name != "tenant")) for table in TABLES]
    with monkeypatch.context() as before:
        before.setattr("evolver.store.copy_ledger.TABLES", tables)
        copy(moved(data, url))
    with Ledger(data / "evolution.db", tenant=tenant) as ledger:
        if tenant:
            ledger.open_cycle()
    in_files(data)
    with Ledger(data / "evolution.db") as ledger:
        ledger.put_setting("paused", "")
    if tenant:
        with pytest.raises(UserError, match="its ledger is in use already"):
            copy(moved(data, url))
    else:
        assert copy(moved(data, url))[0] == (0, 0, 0)


@pytest.mark.parametrize("what", ["ledger", "log", "cycles"])
def test_a_database_with_something_of_another_is_refused(tmp_path: Path, postgres: PostgresServer, what: str) -> None:
    url, other = postgres.database(), tmp_path / "other"
    fill(tmp_path / "data")
    if what == "cycles":
        moved(other, url)
        with Ledger(other / "evolution.db") as ledger:
            ledger.open_cycle()
    else:
        fill(other)
        (copy_ledger if what == "ledger" else copy_log)(moved(other, url), lambda line: None)
    with pytest.raises(UserError, match=r"has another ledger or log|its ledger is in use already"):
        copy(moved(tmp_path / "data", url))


def test_while_a_cycle_runs_nothing_is_copied(tmp_path: Path, postgres: PostgresServer) -> None:
    data, url = tmp_path / "data", postgres.database()
    fill(data)
    with Ledger(data / "evolution.db") as ledger, held(ledger, 60.0), pytest.raises(Busy):
        copy(moved(data, url))
    with pytest.raises(StorageError, match="run: agent db copy"):
        contents(data)
    in_files(data)


def test_a_folder_without_a_ledger_has_nothing_to_copy(tmp_path: Path, postgres: PostgresServer) -> None:
    assert copy(moved(tmp_path / "data", postgres.database())) == []
    assert not (tmp_path / "data" / "evolution.db").exists()


def test_the_command_finds_it_and_copies_it_with_the_log(tmp_path: Path, postgres: PostgresServer) -> None:
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][GROUP]
    found = [getattr(import_module(place.split(":")[0]), place.split(":")[1]) for place in points.values()]
    assert found == [copy_ledger]
    data, url = tmp_path / "data", postgres.database()
    fill(data)
    with InteractionLog(data / "interactions.db") as log:
        log.append(turn("asked"), session="s", source="chat")
    copied = {one.table: one.total for one in copy_log(moved(data, url), others=found)}
    assert (copied["cycles"], copied["interactions"]) == (1, 2)


def test_a_ledger_in_a_file_is_copied_where_the_log_was_on_postgres_from_the_start(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    data, url = tmp_path / "data", postgres.database()
    fill(data)
    before = contents(data)
    (data / "interactions.db").unlink()
    copied = copy_log(moved(data, url), others=[copy_ledger])
    assert {one.table for one in copied} == {table.name for table in TABLES}
    assert contents(data) == before


def test_the_pointers_of_tenants_and_their_adapters_are_copied(tmp_path: Path, postgres: PostgresServer) -> None:
    data, url, other = tmp_path / "data", postgres.database(), tmp_path / "other"
    fill(data)
    own = publish_adapter(data, "adapter-0002", tenant="sales")
    pointers = {
        "": active.read(data),
        "care": ActiveAdapter(name=active.SHARED),
        "sales": ActiveAdapter(name=own.name, sha256=own.sha256),
    }
    for tenant, pointer in pointers.items():
        active.write(data, pointer, tenant=tenant)
    active.path(data, "lab").write_text("{")
    said: list[str] = []
    copy_ledger(moved(data, url), said.append)
    assert said[0].endswith("evolver rollback shared --tenant lab; it is not copied")
    moved(other, url)
    assert active.read_all(other) == pointers
    with closing(shared_pointer.open_pointer(url)) as database:
        shared_pointer.fetch_files(database, other, own.name, own.sha256)
    assert copy(moved(data, url)) == [(0, 0, 0)] * len(TABLES)

    in_files(data)
    active.write(data, ActiveAdapter(name=active.SHARED), tenant="sales")
    active.path(data, "care").unlink()
    copy(moved(data, url))
    assert {tenant: pointer.name for tenant, pointer in active.read_all(other).items()} == {
        "": "adapter-0001", "sales": active.SHARED
    }  # fmt: skip

    active.write(other, ActiveAdapter(name=own.name, sha256=own.sha256), tenant="sales")
    in_files(data)
    active.write(data, ActiveAdapter(), tenant="care")
    with pytest.raises(UserError, match="its ledger is in use already"):
        copy(moved(data, url))


def test_a_copy_of_before_the_pointers_of_tenants_were_copied_is_brought_up_to_date(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    data, url = tmp_path / "data", postgres.database()
    fill(data)
    copy(moved(data, url))
    active.write_here(data, ActiveAdapter(name=active.SHARED), "sales")  # it was there, and was left out
    copy(moved(data, url))
    with closing(shared_pointer.open_pointer(url)) as database, database.transaction("BEGIN") as db:
        assert shared_pointer.read_all(db).keys() == {"", "sales"}
