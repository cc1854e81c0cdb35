"""evolution.db keeps what happened, over restarts."""

import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database

from agent.errors import StorageError
from agent.log.interaction_log import InteractionLog
from agent.storage import database_server
from agent.storage.database import open_file
from agent.storage.database_server import server_of
from agent.storage.postgres import open_postgres
from evolver.store.ledger import Ledger
from evolver.store.migrations import migrations
from evolver.store.postgres_schema import STEPS
from evolver.types import Adapter
from tests.fakes.evolution import eval_report, turn
from tests.fakes.postgres import PostgresServer


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def path(data_folder: Path) -> Path:
    return data_folder / "evolution.db"


def in_files(folder: Path) -> bool:
    return not server_of(folder)


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with Ledger(path, now=Clock()) as opened:
        yield opened


def adapter(name: str, sha256: str = "a" * 64) -> Adapter:
    return Adapter(name=name, folder=Path("unused"), sha256=sha256)


def test_a_new_ledger_is_empty_and_its_owners(ledger: Ledger, path: Path) -> None:
    assert (ledger.cycles(), ledger.adapters(), ledger.releases(), ledger.mined_up_to()) == ([], [], [], "")
    assert path.exists() == in_files(path.parent)
    if path.exists():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_cycle_that_was_cut_off_is_opened_again_also_by_another_process(ledger: Ledger, path: Path) -> None:
    first = ledger.open_cycle()
    ledger.stage_begins(first.number, "make")
    with Ledger(path) as other:
        again = other.open_cycle()
    assert (again.number, again.started_at, again.status, again.stage) == (1, first.started_at, "running", "make")


@pytest.mark.parametrize("status", ["promoted", "rejected", "failed", "nothing_to_do"])
def test_after_an_end_comes_the_next_number(ledger: Ledger, status: str) -> None:
    ledger.end_cycle(ledger.open_cycle().number, status, "because")  # type: ignore[arg-type]
    following = ledger.open_cycle()
    assert following.number == 2
    second, first = ledger.cycles()
    assert (second.number, first.number, first.status, first.reason) == (2, 1, status, "because")
    assert first.ended_at is not None
    assert first.ended_at > first.started_at
    assert ledger.cycles(1) == [first]
    assert ledger.cycles(3) == []


def test_what_stages_note_is_kept_together(ledger: Ledger, path: Path) -> None:
    number = ledger.open_cycle().number
    ledger.note(number, "make", {"traces": 3})
    ledger.note(number, "verify", {"kept": 1, "dropped": {"ü": 2}})
    ledger.note(number, "make", {"traces": 4})
    with Ledger(path) as other:
        assert other.cycles(number)[0].summary == {
            "make": {"traces": 4},
            "verify": {"kept": 1, "dropped": {"ü": 2}},
        }


def test_a_stage_keeps_its_begin_over_an_interruption_and_gets_a_new_one_when_it_is_done_again(path: Path) -> None:
    times = iter((0.0, 10.0, 15.0, 40.0, 50.0, 57.0))
    with Ledger(path, now=lambda: next(times)) as ledger:
        number = ledger.open_cycle().number
        ledger.stage_begins(number, "make")
        assert ledger.stage_seconds(number) == {}
        ledger.stage_begins(number, "make")  # it was cut off, and goes on
        ledger.stage_ends(number, "make", {"traces": 3})
        assert ledger.stage_seconds(number) == {"make": 30.0}
        ledger.stage_begins(number, "make")  # from other values than before
        assert ledger.stage_seconds(number) == {}
        ledger.stage_ends(number, "make", {"traces": 4})
        assert ledger.stage_seconds(number) == {"make": 7.0}
        assert ledger.cycles(number)[0].summary == {"make": {"traces": 4}}


def test_only_a_cycle_that_was_judged_has_used_up_the_log(ledger: Ledger) -> None:
    for status, last in (("promoted", "05"), ("failed", "09"), ("rejected", "07"), ("rejected", "")):
        ledger.end_cycle(ledger.open_cycle().number, status, "", last)  # type: ignore[arg-type]
    assert ledger.mined_up_to() == "07"


def test_adapters_newest_first_with_their_lineage_and_scores(ledger: Ledger) -> None:
    number = ledger.open_cycle().number
    ledger.add_adapter(adapter("adapter-0001"), number, "base", "d1")
    ledger.add_adapter(adapter("adapter-0002"), number, "adapter-0001", "d2")
    ledger.set_adapter_state("adapter-0001", "rejected", {"call_accuracy": {"hits": 1}})
    ledger.set_adapter_state("adapter-0001", "promoted")
    second, first = ledger.adapters()
    assert (first.name, first.parent, first.dataset_sha256, first.cycle) == ("adapter-0001", "base", "d1", 1)
    assert (first.state, first.scores) == ("promoted", {"call_accuracy": {"hits": 1}})
    assert (second.state, second.scores, second.parent) == ("candidate", {}, "adapter-0001")
    assert ledger.adapter("adapter-0001") == first
    assert ledger.adapter("adapter-0003") is None


def test_registering_again_changes_nothing(ledger: Ledger) -> None:
    number = ledger.open_cycle().number
    ledger.add_adapter(adapter("adapter-0001"), number, "base", "d")
    ledger.set_adapter_state("adapter-0001", "promoted")
    before = ledger.adapters()
    ledger.add_adapter(adapter("adapter-0001", "b" * 64), number, "other", "e")
    assert ledger.adapters() == before


def test_a_candidate_that_was_made_anew_takes_the_place_of_the_first(ledger: Ledger) -> None:
    number = ledger.open_cycle().number
    ledger.add_adapter(adapter("adapter-0001"), number, "base", "d")
    first = ledger.adapters()
    ledger.add_adapter(adapter("adapter-0001"), number, "base", "d")
    assert ledger.adapters() == first
    ledger.add_adapter(adapter("adapter-0001", "b" * 64), number, "other", "e")
    (row,) = ledger.adapters()
    assert (row.sha256, row.parent, row.dataset_sha256, row.state) == ("b" * 64, "other", "e", "candidate")


def test_an_unknown_state_or_cycle_is_refused_and_nothing_changes(ledger: Ledger) -> None:
    number = ledger.open_cycle().number
    ledger.add_adapter(adapter("adapter-0001"), number, "base", "d")
    before = ledger.adapters()
    with pytest.raises(StorageError):
        ledger.set_adapter_state("adapter-0001", "splendid", {"call_accuracy": 1})
    with pytest.raises(StorageError):
        ledger.add_adapter(adapter("adapter-0002"), number + 1, "base", "d")
    assert ledger.adapters() == before


def test_releases_newest_first(ledger: Ledger) -> None:
    ledger.record_release("adapter-0001", "base", "cycle 1")
    ledger.record_release("base", "adapter-0001", "evolver rollback")
    assert [(r.adapter, r.previous, r.reason) for r in ledger.releases()] == [
        ("base", "adapter-0001", "evolver rollback"),
        ("adapter-0001", "base", "cycle 1"),
    ]
    assert ledger.releases()[0].at > ledger.releases()[1].at


def test_what_a_method_wrote_is_there_for_others_at_once(ledger: Ledger, path: Path) -> None:
    ledger.record_release("adapter-0001", "base", "cycle 1")
    with Ledger.open_readonly(path) as other:
        assert [release.adapter for release in other.releases()] == ["adapter-0001"]


def test_a_damaged_ledger_is_one_line_with_the_fix(tmp_path: Path) -> None:
    path = tmp_path / "evolution.db"
    path.write_bytes(b"no database at all" * 300)
    with pytest.raises(StorageError) as raised:
        Ledger(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_was_measured_the_newest_first(ledger: Ledger) -> None:
    for model, hits in (("base", [False]), ("adapter-0001", [True])):
        ledger.record_evaluation(eval_report(hits, model=model))
    newest, oldest = ledger.evaluations()
    assert (newest.model, newest.scores["call_accuracy"]["hits"], newest.suite) == ("adapter-0001", 1, "tiny")
    assert "items" not in newest.scores
    assert oldest.at < newest.at
    assert [one.model for one in ledger.evaluations("base")] == ["base"]


def test_what_is_said_of_an_adapter_is_said_once(ledger: Ledger) -> None:
    for reason in ("first", "second", "first"):
        ledger.mark_adapter("adapter-0001", reason)
    assert ledger.marks() == {"adapter-0001": ["first", "second"]}


def test_an_older_ledger_keeps_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "evolution.db"
    older = Database(path)
    migrations.apply(older, stop_before="m002_lease_releases_states")
    older.execute("INSERT INTO cycles (number, started_at, status) VALUES (1, 5, 'promoted')")
    older.execute("INSERT INTO adapters VALUES ('adapter-0001', 1, 'base', 'a', 'd', 6, 'promoted', '{\"exact\": 1}')")
    older.execute("INSERT INTO releases VALUES (1, 7, 'adapter-0001', 'base', 'cycle 1')")
    older.conn.commit()
    older.close()
    with Ledger(path) as ledger:
        (row,) = ledger.adapters()
        assert (row.name, row.state, row.scores, row.pinned) == ("adapter-0001", "promoted", {"exact": 1}, False)
        (change,) = ledger.releases()
        assert (change.adapter, change.reason, change.by, change.cycle) == ("adapter-0001", "cycle 1", "", 0)
        ledger.set_adapter_state("adapter-0001", "waiting")


def test_an_older_ledger_on_postgres_keeps_what_it_holds(tmp_path: Path, postgres: PostgresServer) -> None:
    url = postgres.database()
    with closing(open_postgres(url, STEPS[:-1])) as older, older.transaction() as db:
        db.execute("INSERT INTO cycles (number, started_at, status, reason) VALUES (1, 5, 'promoted', '')")
        release = "(1, 7, 'adapter-0001', 'base', 'cycle 1')"
        db.execute(f"INSERT INTO releases (number, at, adapter, previous, reason) VALUES {release}")
        columns = db.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'cycles'"
        ).fetchall()
        assert ("tenant",) not in [tuple(row) for row in columns]
    with Ledger(tmp_path / "evolution.db", database=open_postgres(url, STEPS)) as ledger:
        (cycle,) = ledger.cycles()
        (change,) = ledger.releases()
        assert (cycle.number, cycle.status, cycle.tenant) == (1, "promoted", "")
        assert (change.adapter, change.previous, change.reason) == ("adapter-0001", "base", "cycle 1")
    for tenant in ("", "sales"):
        with Ledger(tmp_path / "evolution.db", database=open_postgres(url, STEPS), tenant=tenant) as ledger:
            assert len(ledger.own_cycles()) == (not tenant)


def test_writes_together_are_one_transaction(ledger: Ledger, path: Path) -> None:
    with pytest.raises(ZeroDivisionError), ledger.together():
        number = ledger.open_cycle().number
        ledger.record_release("adapter-0001", "base", "cycle 1")
        assert ledger.cycles(number)[0].status == "running"
        with Ledger.open_readonly(path) as other:
            assert other.cycles() == []
        raise ZeroDivisionError
    assert (ledger.cycles(), ledger.releases()) == ([], [])


def test_both_databases_have_the_same_tables_and_columns(tmp_path: Path, postgres: PostgresServer) -> None:
    with closing(open_file(tmp_path / "ledger.db", migrations)) as file, file.transaction("BEGIN") as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()]
        here = {
            name: {row[1] for row in db.execute(f"PRAGMA table_info({name})").fetchall()}
            for name in names
            if not name.startswith(("_sqlite", "sqlite_"))
        }
    query = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'apprentice'"
    there: dict[str, set[str]] = {}
    with closing(open_postgres(postgres.database(), STEPS)) as server, server.transaction("BEGIN") as db:
        for table, column in db.execute(query).fetchall():
            there.setdefault(table, set()).add(column)
    assert {table: there[table] for table in here} == here


def test_a_ledger_that_was_not_moved_is_not_begun_anew(tmp_path: Path, postgres: PostgresServer) -> None:
    path = tmp_path / "evolution.db"
    with Ledger(path) as ledger:
        ledger.open_cycle()
    database_server.keep(tmp_path, postgres.database())
    for opened in (Ledger, Ledger.open_readonly):
        with pytest.raises(StorageError, match=r"is not on postgresql://.* yet; run: agent db copy"):
            opened(path)
    database_server.keep(tmp_path, "")


def test_who_writes_the_ledger_does_not_wait_for_who_writes_the_log(tmp_path: Path, postgres: PostgresServer) -> None:
    database_server.keep(tmp_path, postgres.database())
    with (
        InteractionLog(tmp_path / "interactions.db") as log,
        Ledger(tmp_path / "evolution.db") as ledger,
        ledger.together(),
    ):
        ledger.open_cycle()
        log.append(turn("meanwhile"), session="s", source="chat")
    database_server.keep(tmp_path, "")
