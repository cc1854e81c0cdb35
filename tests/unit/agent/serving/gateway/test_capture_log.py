"""The gateway's writer: many exchanges in one transaction, each acknowledged when it is on disk."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.log.interaction_log import InteractionLog
from agent.log.postgres_schema import STEPS
from agent.serving.gateway import capture_log
from agent.serving.gateway.capture import Exchange
from agent.serving.gateway.capture_log import CaptureLog
from agent.storage.database import Database
from agent.storage.postgres import open_postgres
from tests.fakes.postgres import PostgresServer, break_at_commit, server_away


def exchange(
    text: str, *, calls: str = "", history: tuple[dict[str, Any], ...] = (), owner: str = "", tenant: str = ""
) -> Exchange:
    """One that asks ``text``; answered by a call with the id ``calls``, or by words."""
    call = {"id": calls, "type": "function", "function": {"name": "add", "arguments": "{}"}}
    message = {"role": "assistant", "tool_calls": [call]} if calls else {"role": "assistant", "content": "yes"}
    response = {"id": f"chatcmpl-{text}", "choices": [{"message": message, "finish_reason": "stop"}]}
    return Exchange(
        request={"messages": [{"role": "user", "content": text}, *history]},
        response=json.dumps(response).encode(),
        adapter="base",
        adapter_sha256="",
        session="s",
        latency_ms=1.0,
        owner=owner,
        tenant=tenant,
    )


def results_of(call: str) -> tuple[dict[str, Any], ...]:
    made = {"id": call, "type": "function", "function": {"name": "add", "arguments": "{}"}}
    return ({"role": "assistant", "tool_calls": [made]}, {"role": "tool", "tool_call_id": call, "content": "3"})


def written(folder: Path, *exchanges: Exchange) -> tuple[list[bool], list[str], int]:
    """Hand all in at once: who was acknowledged, the statements that the log ran, and the failures counted."""
    statements: list[str] = []
    with InteractionLog(folder / "interactions.db") as log:
        if isinstance(log._db, Database):
            log._db.raw.conn.set_trace_callback(statements.append)
        acknowledged, failures = written_to(log, *exchanges)
    return acknowledged, statements, failures


def written_to(log: InteractionLog, *exchanges: Exchange) -> tuple[list[bool], int]:
    """Hand all in at once: who was acknowledged, and the failures counted."""

    async def run() -> tuple[list[bool], int]:
        async with CaptureLog(log) as writer:
            return list(await asyncio.gather(*map(writer.store, exchanges))), writer.failures

    return asyncio.run(run())


def put_and_ended(log: InteractionLog, count: int) -> int:
    """Hand so many in and end; return the failures counted."""

    async def run() -> int:
        async with CaptureLog(log) as writer:
            for number in range(count):
                writer.put(exchange(f"request {number}"))
        return writer.failures

    return asyncio.run(run())


@pytest.fixture
def on_postgres(postgres: PostgresServer) -> Iterator[InteractionLog]:
    with InteractionLog(Path("unused"), database=open_postgres(postgres.database(), STEPS)) as log:
        yield log


def requests(folder: Path) -> list[str]:
    with InteractionLog(folder / "interactions.db") as log:
        return [found.trajectory.messages[0].content for found in log.read()]


def test_a_batch_is_one_transaction(tmp_path: Path) -> None:
    texts = [f"request {n}" for n in range(50)]
    acknowledged, statements, _ = written(tmp_path, *map(exchange, texts))
    assert acknowledged == [True] * 50
    assert requests(tmp_path) == texts
    assert statements.count("COMMIT") == 1


@pytest.mark.parametrize("odd", ["no reply", "no text that SQLite takes"])
def test_one_that_cannot_be_stored_takes_no_other_with_it(
    data_folder: Path, odd: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = exchange("\ud800") if odd == "no text that SQLite takes" else exchange("cut off")
    if odd == "no reply":
        bad = Exchange(**{**vars(bad), "response": b"{"})
    acknowledged, _, failures = written(data_folder, exchange("one"), bad, exchange("two"))
    assert acknowledged == [True, False, True]
    assert failures == 1
    assert requests(data_folder) == ["one", "two"]
    assert capsys.readouterr().err.count("an exchange was not logged") == 1


def test_an_exchange_continues_one_of_the_same_batch(data_folder: Path) -> None:
    written(data_folder, exchange("add", calls="call-1"), exchange("add", history=results_of("call-1")))
    with InteractionLog(data_folder / "interactions.db") as log:
        first, second = log.read()
    assert (first.continues, second.continues) == ("", first.id)


@pytest.mark.parametrize(("owner", "tenant"), [("eve", "sales"), ("ann", "other"), ("eve", "other")])
def test_nobody_continues_the_interaction_of_another(data_folder: Path, owner: str, tenant: str) -> None:
    """Ids of calls can be guessed. Whoever did would take the other's turn out of the log's whole turns."""
    begun = exchange("add", calls="call-1", owner="ann", tenant="sales")
    written(data_folder, begun, exchange("add", history=results_of("call-1"), owner=owner, tenant=tenant))
    with InteractionLog(data_folder / "interactions.db") as log:
        assert [one.continues for one in log.read()] == ["", ""]
        assert len(list(log.whole_turns(tenant="sales"))) == 1 + (tenant == "sales")


def test_a_batch_that_was_undone_is_continued_by_nobody(data_folder: Path) -> None:
    """A call whose turn is not in the log names no interaction."""
    bad = exchange("\ud800", calls="call-1")
    acknowledged, _, _ = written(data_folder, bad, exchange("add", history=results_of("call-1")))
    assert acknowledged == [False, True]
    with InteractionLog(data_folder / "interactions.db") as log:
        (found,) = log.read()
    assert found.continues == ""


def test_a_batch_whose_commit_is_unknown_is_not_written_again(
    on_postgres: InteractionLog, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    break_at_commit(on_postgres._db, arrives=True)
    server_away(monkeypatch, times=1)
    assert written_to(on_postgres, exchange("one"), exchange("two")) == ([False, False], 2)
    assert [found.trajectory.messages[0].content for found in on_postgres.read()] == ["one", "two"]
    assert "2 exchanges were not logged" in (said := capsys.readouterr().err)
    assert "it is not known whether the last turns are stored" in said


def test_a_server_that_is_gone_is_waited_for_once_for_a_whole_batch(
    on_postgres: InteractionLog, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_postgres.close()
    tried = server_away(monkeypatch)
    assert written_to(on_postgres, *map(exchange, "abc")) == ([False] * 3, 3)
    assert tried() == 1
    assert capsys.readouterr().err.count("3 exchanges were not logged") == 1


def test_a_writer_that_ends_does_not_wait_for_a_server_again(
    on_postgres: InteractionLog, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_postgres.close()
    tried = server_away(monkeypatch)
    assert put_and_ended(on_postgres, 200) == 200
    assert tried() == 1
    assert "136 exchanges were not logged: the database did not take them before the end" in capsys.readouterr().err


def test_a_writer_that_ends_begins_nothing_when_its_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(capture_log, "_DRAIN_SECONDS", -1.0)
    with InteractionLog(tmp_path / "interactions.db") as log:
        assert put_and_ended(log, 3) == 3
        assert log.read() == []
    assert "3 exchanges were not logged: the database did not take them" in capsys.readouterr().err
