"""The interaction log on a Postgres server: what is different there from a file."""

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from agent.cli import main
from agent.config import Config
from agent.errors import CommitUnknown, ConnectionLost, DatabaseUnavailable, StorageError
from agent.imports.import_log import ImportLog
from agent.imports.record import Digest
from agent.log.interaction_log import InteractionLog
from agent.log.migrations import migrations
from agent.log.postgres_schema import STEPS
from agent.storage import database_server
from agent.storage.database import open_file
from agent.storage.postgres import open_postgres
from agent.turn.messages import UPSTREAM, Message, Trajectory
from tests.fakes.evolution import turn
from tests.fakes.postgres import PostgresServer, break_at, break_at_commit, server_away
from tests.fakes.postgres_log import opened, texts
from tests.fakes.waiting import wait_until
from toolkit.config import load_config
from toolkit.errors import PrerequisiteError, UserError


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    """An empty database."""
    return postgres.database()


def test_both_databases_have_the_same_tables_and_columns(url: str, tmp_path: Path) -> None:
    own = {"said", "copied", "migrations", "writers"}
    with closing(open_file(tmp_path / "log.db", migrations)) as file, file.transaction("BEGIN") as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()]
        kept = [name for name in names if not name.startswith(("_sqlite", "sqlite_", "said"))]
        here = {name: {row[1] for row in db.execute(f"PRAGMA table_info({name})").fetchall()} for name in kept}
    query = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'apprentice'"
    there: dict[str, set[str]] = {}
    with closing(open_postgres(url, STEPS)) as server, server.transaction("BEGIN") as db:
        for table, column in db.execute(query).fetchall():
            there.setdefault(table, set()).add(column)
    assert {table: columns for table, columns in there.items() if table not in own} == here
    assert len(here) == 4


def test_every_text_compares_by_code_points(url: str) -> None:
    query = (
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'apprentice' "
        "AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C' AND table_name NOT IN ('migrations', 'writers')"
    )
    with closing(open_postgres(url, STEPS)) as server, server.transaction("BEGIN") as db:
        assert db.execute(query).fetchall() == []


def test_a_connection_that_was_cut_is_made_anew(url: str, postgres: PostgresServer) -> None:
    with opened(url) as log:
        log.append(turn("before"), session="s", source="chat")
        postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'apprentice'")
        log.append(turn("after"), session="s", source="chat")
        postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'apprentice'")
        assert texts(log) == ["before", "after"]


def test_a_commit_whose_answer_is_lost_is_no_failure_and_stored_once(url: str) -> None:
    with opened(url) as log:
        break_at_commit(log._db, arrives=True)
        identity = log.append(turn("once"), session="s", source="chat")
        assert [one.id for one in log.read()] == [identity]


def test_a_commit_that_did_not_arrive_is_a_failure_and_stores_nothing(url: str) -> None:
    with opened(url) as log:
        break_at_commit(log._db, arrives=False)
        entry = log.entry(turn("lost"), session="s", source="chat")
        with pytest.raises(ConnectionLost, match="server closed the connection unexpectedly"), log.batch() as add:
            add(entry, "")
        log.append(turn("after"), session="s", source="chat")
        assert texts(log) == ["after"]


def test_a_commit_of_which_the_server_says_nothing_is_said_to_be_unknown(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(url) as log:
        break_at_commit(log._db, arrives=True)
        server_away(monkeypatch, times=1)
        with pytest.raises(CommitUnknown, match="it is not known whether the last turns are stored"):
            log.append(turn("perhaps"), session="s", source="chat")
        assert texts(log) == ["perhaps"]


def test_a_server_that_does_not_come_back_is_waited_for_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(url) as log:
        log._db.close()
        tried = server_away(monkeypatch)
        with pytest.raises(DatabaseUnavailable):
            log.append(turn("lost"), session="s", source="chat")
        assert tried() == 1


def test_a_transaction_that_hangs_ends_before_others_give_up_their_turn(url: str) -> None:
    query = (
        "SELECT (SELECT setting::int FROM pg_settings WHERE name = 'lock_timeout') "
        "- (SELECT setting::int FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout')"
    )
    with closing(open_postgres(url, STEPS)) as server, server.transaction("BEGIN") as db:
        assert db.execute(query).fetchone()[0] >= 10_000


def test_a_writer_that_waits_for_its_turn_in_vain_stores_nothing(url: str, postgres: PostgresServer) -> None:
    with opened(url) as one, closing(open_postgres(url, STEPS)) as two, one.batch():
        two._connection.execute("SET lock_timeout = '1ms'")  # type: ignore[attr-defined]
        with pytest.raises(DatabaseUnavailable, match="keeps it locked"), two.transaction():
            raise AssertionError


def test_a_writer_sees_what_was_stored_while_it_waited_whatever_the_database_says(
    url: str, postgres: PostgresServer
) -> None:
    name = url.partition("?")[0].rpartition("/")[2]
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with (
        closing(open_postgres(url, STEPS)) as first,
        closing(open_postgres(url, STEPS)) as second,
        closing(open_postgres(url, STEPS)) as observer,
        ThreadPoolExecutor() as threads,
    ):

        def waiting() -> bool:
            with observer.transaction("BEGIN") as db:
                return db.execute(waits).fetchone()[0] == 1

        one, two = (InteractionLog(Path("unused"), now=lambda: 1.0, database=database) for database in (first, second))
        with one.batch() as add:
            stored = add(one.entry(turn("one"), session="s", source="chat"), "")
            later = threads.submit(two.append, turn("two"), session="s", source="chat")
            wait_until(waiting)
        assert stored < later.result()


def test_a_reader_cannot_write(url: str) -> None:
    with (
        closing(open_postgres(url, STEPS, writable=False)) as server,
        pytest.raises(StorageError, match="cannot be written by a reader"),
        server.transaction() as db,
    ):
        db.execute("DELETE FROM feedback")


def test_a_turn_and_a_word_on_it_are_stored_once_when_a_commit_does_not_arrive(url: str) -> None:
    with opened(url) as log:
        break_at_commit(log._db, arrives=False)
        identity = log.append(turn("kept"), session="s", source="chat")
        break_at_commit(log._db, arrives=False)
        log.feedback(identity, "good", "yes")
        (found,) = log.read()
        assert (found.id, [word.note for word in found.feedback]) == (identity, ["yes"])


def test_what_is_deleted_is_freed_also_when_the_connection_breaks_after_the_commit(url: str) -> None:
    with opened(url) as log:
        identity = log.append(turn("gone"), session="s", source="chat")
        break_at(log._db, "VACUUM")
        assert log.forget(identity)
        with log._db.transaction("BEGIN") as db:
            assert db.execute("SELECT pg_relation_size('interactions')").fetchone() == (0,)


def test_what_is_deleted_leaves_the_indexes_of_a_long_log_too(url: str, postgres: PostgresServer) -> None:
    """VACUUM by itself passes over the indexes where few rows are deleted."""
    import psycopg

    entries = (
        "SELECT sum(live_items) FROM (SELECT (bt_page_stats('apprentice.interactions_of_session', page)).* "
        "FROM generate_series(1, pg_relation_size('apprentice.interactions_of_session') / 8192 - 1) AS page) AS pages "
        "WHERE type = 'l'"
    )
    many = (
        "INSERT INTO apprentice.interactions (id, session, source, created_at, adapter, stop_reason, trajectory, "
        "tool_schemas) SELECT '0-' || n, 's' || n, 'chat', n, 'base', 'x', repeat('x', 1000), '[]' "
        "FROM generate_series(1, 1000) AS n"
    )
    with opened(url) as log, psycopg.connect(url, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'pageinspect'").fetchone():
            pytest.skip("this Postgres has no pageinspect")
        connection.execute("CREATE EXTENSION pageinspect")
        connection.execute(many)
        identity = log.append(turn("gone"), session="gone", source="chat")
        before = (connection.execute(entries).fetchone() or (0,))[0]
        assert log.forget(identity)
        assert (connection.execute(entries).fetchone() or (0,))[0] < before


def test_what_is_deleted_and_cannot_be_freed_is_said_to_be_deleted(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(url) as log:
        identity = log.append(turn("gone"), session="s", source="chat")
        break_at(log._db, "VACUUM")
        server_away(monkeypatch, times=1)
        with pytest.raises(StorageError, match="it is deleted there; its space is freed by: VACUUM"):
            log.forget(identity)
        assert log.read() == []


def test_a_text_with_a_nul_is_stored_and_found(url: str) -> None:
    said = turn("a\0b").model_copy(
        update={"messages": (Message(role="user", content="ask\0ed"), Message(role="assistant", content="Ünïcode"))}
    )
    with opened(url) as log:
        identity = log.append(said, session="s\0t", source="chat")
        log.feedback(identity, "bad", "no\0te")
        (found,) = log.read()
        assert found.trajectory == Trajectory.model_validate_json(said.model_dump_json())
        assert (found.session, found.feedback[0].note) == ("s\ufffdt", "no\ufffdte")
        assert [one.id for one in log.search("unicode", limit=5)] == [identity]
        assert log.requests(source="chat", owner="", limit=1) == ["ask\ufffded"]


def test_more_words_than_an_index_holds_are_no_failure(url: str) -> None:
    many = " ".join(f"w{number:07d}" for number in range(50_000)) + " " + "x" * 5_000
    with opened(url) as log:
        identity = log.append(turn(many), session="s", source="chat")
        assert [one.id for one in log.search("w0000001", limit=5)] == [identity]


def test_an_import_frees_a_turn_that_another_model_answered(url: str) -> None:
    digest = Digest(b"turn", b"content")
    with ImportLog(Path("unused"), database=open_postgres(url, STEPS)) as log:
        for adapter in (f"{UPSTREAM}gpt", "base"):
            entry = log.entry(turn("x").model_copy(update={"adapter": adapter}), session="s", source="import")
            with log.import_batch() as add:
                stored = add(entry, digest, "")
        (found,) = log.read()
        assert (found.id, found.trajectory.adapter) == (stored.id, "base")
        log.forget(found.id)
        known = log.known(digest)
        assert known is not None
        assert known.id == ""


def test_feedback_by_the_command_needs_no_file(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[agent]\ndatabase = "{url}"\n')
    with opened(url) as log:
        identity = log.append(turn("asked"), session="s", source="chat")
        monkeypatch.setattr(sys, "argv", ["agent", "feedback", identity, "good", "--config", str(file)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        assert [word.verdict for word in log.read()[0].feedback] == ["good"]


def test_no_server_is_one_line_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as raised:
        opened(f"postgresql:///log?host={tmp_path}")
    assert str(raised.value).startswith(f"postgresql:///log?host={tmp_path}: connection")
    assert str(raised.value).endswith("; check [agent] database in config.toml, and that the server runs")
    assert "\n" not in str(raised.value)


def test_a_database_in_another_encoding_is_refused(postgres: PostgresServer) -> None:
    postgres.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(PrerequisiteError, match="is encoded in LATIN1; make the database with ENCODING 'UTF8'"):
        opened(postgres.url("latin"))


def test_commits_wait_for_the_disk_whatever_the_database_says(postgres: PostgresServer, url: str) -> None:
    name = url.partition("?")[0].rpartition("/")[2]
    postgres.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    with closing(open_postgres(url, STEPS)) as server, server.transaction("BEGIN") as db:
        assert db.execute("SHOW synchronous_commit").fetchone() == ("on",)


def test_the_configuration_says_where_the_log_of_its_data_folder_is(tmp_path: Path, url: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[agent]\ndatabase = "{url}"\n')
    config = load_config(file, Config)
    with InteractionLog.of(config) as log:
        log.append(turn("there"), session="s", source="chat")
    with opened(url) as log:
        assert texts(log) == ["there"]
        with pytest.raises(UserError, match="there is no interaction nope"):
            log.feedback("nope", "good")
    assert not (config.data_folder / "interactions.db").exists()
    file.write_text("")
    load_config(file, Config)
    assert database_server.server_of(config.data_folder) == ""
