"""A log moves from its SQLite file to Postgres: whole, once, and only to where nothing else is."""

import json
import sys
from pathlib import Path

import pytest

from agent.cli import main
from agent.config import AgentConfig, Config
from agent.imports.import_log import ImportLog
from agent.imports.record import Digest
from agent.log import copy_log as module
from agent.log.copy_log import Copied, copy_log
from agent.log.interaction_log import InteractionLog
from agent.serving.shadow.agreement import Comparison
from agent.serving.shadow.agreement_log import AgreementLog
from agent.storage.process_lock import SERVE, process_lock
from agent.turn.messages import Interaction
from tests.fakes.evolution import turn
from tests.fakes.postgres import PostgresServer
from toolkit.errors import UserError


def in_file(data: Path) -> InteractionLog:
    Config(data_folder=data)  # says that the log of this folder is a file
    return InteractionLog(data / "interactions.db")


def moved(data: Path, url: str) -> Config:
    return Config(data_folder=data, agent=AgentConfig(database=url))


def fill(data: Path, count: int) -> list[str]:
    with in_file(data) as log:
        ids = [log.append(turn(f"request {n}"), session="s", source="chat", owner="me") for n in range(count)]
        for identity in ids[::2]:
            log.feedback(identity, "bad", "no", expected="yes")
    return ids


def read(data: Path, url: str = "") -> list[Interaction]:
    with InteractionLog.of(moved(data, url)) as log:
        return log.read()


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH", 2)


def test_everything_is_there_and_again_changes_nothing(tmp_path: Path, postgres: PostgresServer) -> None:
    url, data = postgres.database(), tmp_path / "data"
    ids = fill(data, 5)
    with ImportLog(data / "interactions.db") as log, log.import_batch() as add:
        add(log.entry(turn("imported"), session="", source="import"), Digest(b"\0turn", b"content"), "")
    with AgreementLog(data / "interactions.db") as agreements:
        agreements.add([Comparison("add", same_call=True, same_arguments=False)], adapter="base", upstream="them")
    before = read(data)
    assert [tuple(one) for one in copy_log(moved(data, url))] == [
        ("interactions", 6, 0, 0, 6),
        ("feedback", 3, 0, 0, 3),
        ("imported", 1, 0, 0, 1),
        ("shadow_comparisons", 1, 0, 0, 1),
    ]
    assert read(data, url) == before
    assert [one.new + one.changed + one.removed for one in copy_log(moved(data, url))] == [0, 0, 0, 0]
    moved(data, url)
    with ImportLog(data / "interactions.db") as log, AgreementLog(data / "interactions.db") as agreements:
        assert [one.id for one in log.search("request 3", limit=9)] == [ids[3]]
        known = log.known(Digest(b"\0turn", b"content"))
        assert known is not None
        assert known.id == before[-1].id
        assert agreements.agreements()[0].compared == 1
        log.feedback(ids[0], "good")
        assert [word.verdict for word in log.read()[0].feedback] == ["bad", "good"]
        assert log.append(turn("next"), session="s", source="chat") > before[-1].id


def test_a_copy_that_was_cut_off_goes_on(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, data = postgres.database(), tmp_path / "data"
    fill(data, 7)
    said: list[str] = []

    def stop(line: str) -> None:
        said.append(line)
        if len(said) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_log(moved(data, url), stop)
    assert said == ["interactions: 2 copied", "interactions: 4 copied"]
    assert len(read(data, url)) == 4
    assert copy_log(moved(data, url))[0] == Copied("interactions", 3, 0, 0, 7)
    assert read(data, url) == read(data)


def test_what_was_forgotten_or_said_since_is_in_the_next_copy(tmp_path: Path, postgres: PostgresServer) -> None:
    url, data = postgres.database(), tmp_path / "data"
    ids = fill(data, 3)
    with in_file(data) as log:
        later = turn("later").model_copy(update={"history": turn("request 0").messages})
        log.append(later, session="s", source="chat", owner="me")
    copy_log(moved(data, url))
    with in_file(data) as log:
        log.forget(ids[0])
        log.feedback(ids[1], "good")
        log.append(turn("new"), session="s", source="chat")
    assert [tuple(one[1:]) for one in copy_log(moved(data, url))[:2]] == [(1, 3, 1, 4), (1, 0, 1, 2)]
    assert read(data, url) == read(data)


def test_a_number_of_feedback_that_was_given_again_is_no_hindrance(tmp_path: Path, postgres: PostgresServer) -> None:
    url, data = postgres.database(), tmp_path / "data"
    with in_file(data) as log:
        ids = [log.append(turn(text), session="s", source="chat") for text in ("gone", "stays")]
        log.feedback(ids[0], "bad")
    copy_log(moved(data, url))
    with in_file(data) as log:
        log.forget(ids[0])
        log.feedback(ids[1], "good")
    assert [one.total for one in copy_log(moved(data, url))[:2]] == [1, 1]
    assert read(data, url) == read(data)
    assert [one.new + one.changed + one.removed for one in copy_log(moved(data, url))] == [0, 0, 0, 0]


def test_a_database_with_another_log_is_refused(tmp_path: Path, postgres: PostgresServer) -> None:
    used, copied = postgres.database(), postgres.database()
    fill(tmp_path / "one", 1)
    fill(tmp_path / "two", 1)
    with InteractionLog.of(moved(tmp_path / "three", used)) as log:
        log.append(turn("theirs"), session="s", source="chat")
    copy_log(moved(tmp_path / "two", copied))
    for url in (used, copied):
        before = read(tmp_path / "three", url)
        with pytest.raises(UserError, match=r"has another log; name an empty database in \[agent\] database"):
            copy_log(moved(tmp_path / "one", url))
        assert read(tmp_path / "three", url) == before


def test_a_copy_that_gateways_use_is_not_written_over(tmp_path: Path, postgres: PostgresServer) -> None:
    url, data = postgres.database(), tmp_path / "data"
    ids = fill(data, 2)
    copy_log(moved(data, url))
    with InteractionLog.of(moved(data, url)) as log:
        log.feedback(ids[0], "good")
    with pytest.raises(UserError, match="is in use already"):
        copy_log(moved(data, url))


def test_what_is_missing_is_said_in_one_line(tmp_path: Path, postgres: PostgresServer) -> None:
    data, url = tmp_path / "data", postgres.database()
    with pytest.raises(UserError, match="database is empty; name the Postgres database there"):
        copy_log(Config(data_folder=data))
    with pytest.raises(UserError, match="does not exist: there is nothing to copy"):
        copy_log(moved(data, url))
    fill(data, 1)
    with process_lock(data, SERVE), pytest.raises(UserError, match=r"serves from .*; stop it first: agent stop"):
        copy_log(moved(data, url))


def test_the_command_counts(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "data", 1)
    config = tmp_path / "config.toml"
    config.write_text(f'[agent]\ndatabase = "{postgres.database()}"\n')
    monkeypatch.setattr(sys, "argv", ["agent", "db", "copy", "--json", "--config", str(config)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    counted = json.loads(capsys.readouterr().out)
    assert counted[0] == {"table": "interactions", "new": 1, "changed": 0, "removed": 0, "total": 1}
