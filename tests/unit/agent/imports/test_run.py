"""What was imported stands in the log once, redacted, and is mined and forgotten as any other turn."""

import io
import json
import threading
from typing import Any

import pytest

from agent.config import Config
from agent.imports import run
from agent.imports.record import ImportReason
from agent.imports.report import Report
from agent.imports.turns import Origin
from agent.log.interaction_log import InteractionLog
from agent.turn.messages import Interaction
from evolver.config import MineConfig
from evolver.mining.mine import mine
from evolver.mining.turns import LoggedTurns
from tests.unit.agent.imports import exports
from tests.unit.agent.imports.exports import ANSWER, ASKED, FIRST, SECOND, STEPS, as_lines
from toolkit.errors import UserError


def take(config: Config, *lines: Any, form: Any = None, dry_run: bool = False, **origin: Any) -> Report:
    file = io.BytesIO(as_lines(*lines))
    return run.import_file(config, file, Origin(**origin), form=form, dry_run=dry_run)


def logged(config: Config) -> list[Interaction]:
    with InteractionLog.open_readonly(config.data_folder / "interactions.db") as log:
        return log.read()


def test_a_turn_of_two_requests_is_one_turn_for_mining(config: Config) -> None:
    report = take(config, FIRST, SECOND, own=True)
    assert (report.turns, report.forms) == (2, {"openai": 2})
    first, second = logged(config)
    assert second.continues == first.id
    assert first.source == "import:openai"
    with InteractionLog.open_readonly(config.data_folder / "interactions.db") as log:
        mined = mine(MineConfig(), LoggedTurns.since(log, ""))
    assert [trace.calls[0].name for trace in mined.worked] == ["weather"]
    assert [task.source for task in mined.tasks] == ["import:openai"]


def test_the_same_file_twice_adds_nothing(config: Config) -> None:
    take(config, FIRST, SECOND)
    report = take(config, FIRST, SECOND)
    assert (report.turns, report.left_out) == (0, {ImportReason.KNOWN: 2})
    assert len(logged(config)) == 2


def test_nor_does_a_line_that_stands_in_a_file_twice(config: Config) -> None:
    assert take(config, FIRST, FIRST).turns == 1


def test_a_file_that_grew_goes_on_where_it_ended(config: Config) -> None:
    take(config, FIRST)
    assert take(config, FIRST, SECOND).turns == 1
    first, second = logged(config)
    assert second.continues == first.id


def test_a_forgotten_turn_does_not_come_back(config: Config) -> None:
    take(config, SECOND)
    with InteractionLog(config.data_folder / "interactions.db") as log:
        assert log.forget(logged(config)[0].id)
    report = take(config, SECOND)
    assert report.left_out == {ImportReason.FORGOTTEN: 1}
    assert logged(config) == []


@pytest.mark.parametrize("other", [{"tenant": "acme"}, {"owner": "bob"}])
def test_nor_for_another_owner_or_tenant(config: Config, other: dict[str, str]) -> None:
    take(config, SECOND)
    with InteractionLog(config.data_folder / "interactions.db") as log:
        assert log.forget(logged(config)[0].id)
    for dry_run in (True, False):
        assert take(config, SECOND, dry_run=dry_run, **other).left_out == {ImportReason.FORGOTTEN: 1}
    assert logged(config) == []


def test_one_owners_turn_stays_when_that_of_another_is_forgotten(config: Config) -> None:
    take(config, SECOND, owner="ann")
    take(config, SECOND, owner="bob")
    with InteractionLog(config.data_folder / "interactions.db") as log:
        assert log.forget(logged(config)[0].id)
    assert take(config, SECOND, owner="bob").left_out == {ImportReason.KNOWN: 1}
    assert take(config, SECOND, owner="ann").left_out == {ImportReason.FORGOTTEN: 1}
    assert [one.owner for one in logged(config)] == ["bob"]


def test_a_log_of_before_keeps_what_was_imported_and_what_was_forgotten(config: Config) -> None:
    """Of its turns there is no digest without their owner."""
    path = config.data_folder / "interactions.db"
    take(config, FIRST, SECOND)
    with InteractionLog(path) as log:
        log.forget(logged(config)[0].id)
        log._db.raw.execute("DROP INDEX imported_of_content")
        log._db.raw.execute("ALTER TABLE imported DROP COLUMN content")
        log._db.raw.execute("DELETE FROM _sqlite_migrations WHERE name = 'm009_forgotten_for_all'")
        log._db.raw.conn.commit()
    report = take(config, FIRST, SECOND)
    assert report.left_out == {ImportReason.FORGOTTEN: 1, ImportReason.KNOWN: 1}
    assert take(config, SECOND, owner="bob").turns == 1


def test_turns_of_another_owner_are_others(config: Config) -> None:
    take(config, SECOND, owner="ann", tenant="acme")
    assert take(config, SECOND, owner="bob", tenant="other").turns == 1
    assert [(one.owner, one.tenant) for one in logged(config)] == [("ann", "acme"), ("bob", "other")]


def test_importing_again_as_ones_own_frees_the_turns(config: Config) -> None:
    assert take(config, SECOND).foreign == 1
    assert take(config, SECOND, own=True, dry_run=True).freed == 1
    assert logged(config)[0].trajectory.adapter == "upstream:gpt-x-2026"
    report = take(config, SECOND, own=True)
    assert (report.freed, report.turns) == (1, 0)
    assert logged(config)[0].trajectory.adapter == "imported:gpt-x-2026"
    assert take(config, SECOND).freed == 0
    assert logged(config)[0].trajectory.adapter == "imported:gpt-x-2026"


def test_bodies_of_requests_are_ones_own_when_they_are_called_fine_tuning_lines(config: Config) -> None:
    body = {"model": "gpt-4o", **exports.finetuning(*STEPS, ANSWER, ASKED)}
    assert take(config, body).foreign == 1
    report = take(config, body, form="finetuning")
    assert (report.freed, report.foreign) == (1, 0)
    assert logged(config)[0].trajectory.adapter == "imported:gpt-4o"


def test_secrets_do_not_come_in(config: Config) -> None:
    key = "sk-" + "a1B2c3D4" * 5
    take(config, exports.finetuning({"role": "user", "content": f"my key is {key}"}, ANSWER))
    assert "[secret]" in logged(config)[0].trajectory.messages[0].content
    assert all(key.encode() not in file.read_bytes() for file in config.data_folder.iterdir())


def test_a_dry_run_stores_nothing_and_knows_what_is_there(config: Config) -> None:
    take(config, FIRST)
    report = take(config, FIRST, SECOND, SECOND, dry_run=True)
    assert (report.turns, report.left_out) == (1, {ImportReason.KNOWN: 2})
    assert len(logged(config)) == 1
    assert take(config, FIRST, SECOND).turns == 1


def test_a_dry_run_on_a_new_place_makes_no_folder(config: Config) -> None:
    assert take(config, SECOND, dry_run=True).turns == 1
    assert not config.data_folder.exists()


def test_bad_lines_are_counted_with_where_the_first_stands(config: Config) -> None:
    report = take(config, b"{broken\n", b"\n", SECOND, b'"text"\n', b'{"messages": NaN}\n')
    assert (report.lines, report.turns) == (4, 1)
    assert report.left_out == {ImportReason.NOT_JSON: 3}
    assert report.first_lines == {ImportReason.NOT_JSON: 1}


def test_a_line_beyond_the_limit_is_left_out_and_the_next_is_read(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Config.model_validate(
        {"data_folder": config.data_folder, "agent": {"serving": {"gateway": {"body_limit_mib": 1}}}}
    )
    long = exports.finetuning({"role": "user", "content": "x" * (2 << 20)}, ANSWER)
    report = take(small, long, SECOND)
    assert (report.turns, report.left_out) == (1, {ImportReason.TOO_LONG: 1})


def test_a_json_document_is_read_too(config: Config) -> None:
    document = json.dumps([FIRST, SECOND, 7], indent=1).encode()
    report = take(config, document)
    assert (report.turns, report.left_out) == (2, {ImportReason.NOT_JSON: 1})


def test_a_broken_document_is_one_line(config: Config) -> None:
    with pytest.raises(UserError, match="export it as JSONL"):
        take(config, b"[{},\n")


def test_an_empty_file_is_no_error(config: Config) -> None:
    assert take(config).as_json() == {
        "lines": 0, "turns": 0, "foreign": 0, "freed": 0, "forms": {}, "left_out": []
    }  # fmt: skip


def test_a_batch_that_cannot_be_stored_is_not_counted_and_those_before_stay(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_BATCH", 1)
    broken = run._Run._remember

    def breaks(self: Any, turn: Any, identity: str) -> None:
        if turn.record.identity == "chatcmpl-2":
            raise OSError(28, "No space left on device")
        broken(self, turn, identity)

    monkeypatch.setattr(run._Run, "_remember", breaks)
    with pytest.raises(UserError, match="the disk is full"):
        take(config, FIRST, SECOND)
    assert len(logged(config)) == 1
    monkeypatch.undo()
    assert take(config, FIRST, SECOND).turns == 1


def test_it_writes_beside_another_writer(config: Config) -> None:
    """As beside a gateway that serves: each waits for the other's transaction."""
    first = take(config, FIRST)
    assert first.turns == 1
    stop = threading.Event()
    written = 0

    def serve() -> None:
        nonlocal written
        with InteractionLog(config.data_folder / "interactions.db") as log:
            while not stop.is_set() and written < 50:
                log.append(logged_turn, session="s", source="gateway")
                written += 1

    logged_turn = logged(config)[0].trajectory
    gateway = threading.Thread(target=serve)
    gateway.start()
    lines = [exports.openai([ASKED], ANSWER, f"chatcmpl-{n}") for n in range(100)]
    report = take(config, *lines)
    stop.set()
    gateway.join()
    ids = [one.id for one in logged(config)]
    assert report.turns == 100
    assert len(ids) == len(set(ids)) == 101 + written
    assert ids == sorted(ids)


def test_lines_are_read_a_batch_ahead_of_what_is_stored_and_no_further(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory does not grow with the file."""
    monkeypatch.setattr(run, "_BATCH", 3)
    ahead: list[int] = []

    class Lines(io.BytesIO):
        read_so_far = 0

        def readline(self, size: int | None = -1) -> bytes:
            self.read_so_far += 1
            return super().readline(size)

    file = Lines(as_lines(*(exports.openai([ASKED], ANSWER, f"chatcmpl-{n}") for n in range(10))))
    store = run._Run.store

    def watched(self: Any, batch: Any) -> None:
        ahead.append(file.read_so_far - self.report.turns)
        store(self, batch)

    monkeypatch.setattr(run._Run, "store", watched)
    assert run.import_file(config, file, Origin()).turns == 10
    assert ahead[:3] == [3, 3, 3]
