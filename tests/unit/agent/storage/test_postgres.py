"""The interaction log on a Postgres server: what is different there from a file."""

import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agent import database_server
from agent.cli import main
from agent.config import Config
from agent.errors import ConnectionLost, StorageError
from agent.imports.import_log import ImportLog
from agent.imports.record import Digest
from agent.interaction_log import InteractionLog
from agent.messages import UPSTREAM, Message, Trajectory
from agent.migrations import migrations
from agent.postgres_schema import STEPS
from agent.storage.database import open_file
from agent.storage.postgres import PostgresDatabase, open_postgres
from tests.fakes.evolution import turn
from tests.fakes.postgres import PostgresServer
from toolkit.config import load_config
from toolkit.errors import ConfigError, PrerequisiteError, UserError


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    """An empty database."""
    return postgres.database()


def opened(url: str) -> InteractionLog:
    return InteractionLog(Path("unused"), database=open_postgres(url, STEPS))


def texts(log: InteractionLog) -> list[str]:
    return [one.trajectory.messages[0].content for one in log.read()]


class BreakingConnection:
    """A connection that breaks at COMMIT: before the server hears of it, or with its answer on the way."""

    def __init__(self, connection: Any, *, arrives: bool) -> None:
        self._connection, self._arrives = connection, arrives

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, query: Any, *parameters: Any) -> Any:
        import psycopg

        if query != "COMMIT":
            return self._connection.execute(query, *parameters)
        if self._arrives:
            self._connection.execute(query)
        self._connection.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")


def break_at_commit(log: InteractionLog, *, arrives: bool) -> None:
    assert isinstance(log._db, PostgresDatabase)
    log._db._connection = BreakingConnection(log._db._connection, arrives=arrives)  # type: ignore[assignment]


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
        break_at_commit(log, arrives=True)
        identity = log.append(turn("once"), session="s", source="chat")
        assert [one.id for one in log.read()] == [identity]


def test_a_commit_that_did_not_arrive_is_a_failure_and_stores_nothing(url: str) -> None:
    with opened(url) as log:
        break_at_commit(log, arrives=False)
        with pytest.raises(ConnectionLost, match="server closed the connection unexpectedly"):
            log.append(turn("lost"), session="s", source="chat")
        log.append(turn("after"), session="s", source="chat")
        assert texts(log) == ["after"]


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


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("postgresql://me:secret@db/log", "holds a password; leave it out, and set PGPASSWORD"),
        ("postgresql://db/log?password=secret", "holds a password; leave it out, and set PGPASSWORD"),
        ("mysql://db/log", "string should match pattern"),
    ],
)
def test_an_address_that_must_not_stand_in_the_file(tmp_path: Path, url: str, problem: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[agent]\ndatabase = "{url}"\n')
    with pytest.raises(ConfigError, match=problem) as raised:
        load_config(file, Config)
    assert "secret" not in str(raised.value)


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
