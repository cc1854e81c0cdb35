"""A copy that was taken while everything ran stands for the data folder."""

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.adapters import active, required
from agent.adapters.active import SHARED, ActiveAdapter
from agent.config import AgentConfig, Config
from agent.log.copy_log import copy_log
from agent.log.interaction_log import InteractionLog
from agent.serving.gateway.access import api_keys
from agent.storage import database_server
from evolver.maintenance.backup import back_up
from evolver.release import release
from evolver.store.copy_ledger import copy_ledger
from evolver.store.ledger import Ledger
from tests.fakes.evolution import publish_adapter, turn
from tests.fakes.postgres import PostgresServer
from tests.fakes.waiting import wait_until

NAME = "adapter-0001"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An adapter serves, another is due; one key, one turn, one file of a cycle."""
    data = tmp_path / "data"
    with Ledger(data / "evolution.db") as ledger:
        number = ledger.open_cycle().number
        ledger.add_adapter(publish_adapter(data, NAME), number, "base", "d")
        release.promote(NAME, data, ledger, None, reason="test")
    api_keys.create(data, "ann", ("chat",))
    required.path(data).write_text("{}")
    say(data, "hello")
    (data / "cycles" / "0001").mkdir(parents=True)
    (data / "cycles" / "0001" / "traces.jsonl").write_text("{}")
    return data


def say(data: Path, text: str) -> str:
    with InteractionLog(data / "interactions.db") as log:
        return log.append(turn(text), session="s", source="chat")


def copied(data: Path, target: Path) -> Path:
    with Ledger(data / "evolution.db") as ledger:
        back_up(data, target, ledger)
    return target


def test_all_that_cannot_be_made_again_is_in_it(data: Path, tmp_path: Path) -> None:
    active.write(data, ActiveAdapter(name=SHARED), tenant="sales")
    copy = copied(data, tmp_path / "copy")
    found = {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()}
    files = {f"adapters/{NAME}/{path.name}" for path in (data / "adapters" / NAME).iterdir()}
    small = {active.FILE, "active_adapter.sales.json", api_keys.FILE, required.FILE}
    assert found == {"evolution.db", "interactions.db", "cycles/0001/traces.jsonl", *files, *small}
    assert active.read(copy) == active.read(data)
    assert [key.name for key in api_keys.read(copy)] == ["ann"]
    assert required.path(copy).read_bytes() == required.path(data).read_bytes()
    for name in (api_keys.FILE, "interactions.db"):
        assert stat.S_IMODE((copy / name).stat().st_mode) == 0o600


def test_every_file_is_on_disk_before_it_is_there_and_its_name_after(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, os.rename

    def noted_fsync(descriptor: int) -> None:
        steps.append(str(Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(tmp_path)))
        fsync(descriptor)

    def noted_rename(source: Path, target: Path) -> None:
        steps.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "rename", noted_rename)
    copy = copied(data, tmp_path / "copy")
    before, after = steps[: steps.index("rename")], steps[steps.index("rename") :]
    made = {str(Path(".copy.draft") / path.relative_to(copy)) for path in [copy, *copy.rglob("*")]}
    assert set(before) >= made
    assert after == ["rename", "."]


@contextmanager
def writer(data: Path) -> Iterator[list[str]]:
    """Somebody's turns are logged without pause; yields the ids that were acknowledged."""
    acknowledged: list[str] = []
    stop, begun = threading.Event(), threading.Event()

    def write() -> None:
        with InteractionLog(data / "interactions.db") as log:
            while not stop.is_set():
                acknowledged.append(log.append(turn(f"{len(acknowledged)}"), session="s", source="chat"))
                begun.set()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert begun.wait(90)
        yield acknowledged
    finally:
        stop.set()
        thread.join()


def test_while_turns_are_logged_it_is_whole_and_has_all_that_were_acknowledged_before_it_began(
    data: Path, tmp_path: Path
) -> None:
    with InteractionLog.open_readonly(data / "interactions.db") as log:
        first = [interaction.id for interaction in log.read()]
    with writer(data) as acknowledged:
        copies = []
        for number in range(5):
            known = list(acknowledged)
            copies.append((known, copied(data, tmp_path / f"copy-{number}")))
            wait_until(lambda known=known: len(acknowledged) > len(known))
    for known, copy in copies:
        db = sqlite3.connect(copy / "interactions.db")
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        db.close()
        with InteractionLog.open_readonly(copy / "interactions.db") as log:
            found = [interaction.id for interaction in log.read()]
        assert len(found) >= len(first) + len(known)
        assert found == [*first, *acknowledged][: len(found)]


def test_databases_on_postgres_are_left_out(data: Path, tmp_path: Path, postgres: PostgresServer) -> None:
    copy_log(Config(data_folder=data, agent=AgentConfig(database=postgres.database())), others=[copy_ledger])
    copy = copied(data, tmp_path / "copy")
    database_server.keep(data, "")
    found = {path.name for path in copy.iterdir()}
    assert {"adapters", "cycles", active.FILE, api_keys.FILE} <= found
    assert not found & {"evolution.db", "interactions.db"}
