"""The interaction log: what is appended is there, in order, once."""

import sqlite3 as system_sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlite_utils.utils import sqlite3

from agent.errors import StorageError
from agent.log.interaction_log import InteractionLog
from agent.storage.database import Database, check_sqlite_version
from agent.storage.database_server import server_of
from agent.turn.messages import Feedback, Message, Sampling, Trajectory
from toolkit.errors import PrerequisiteError, UserError
from toolkit.tool import ToolCall, ToolError, ToolErrorKind, ToolResult


def turn(text: str = "hi") -> Trajectory:
    call = ToolCall(id="1", name="add", arguments={"a": [1, None, {"ü": 0.5}]}, raw="{}")
    failed = ToolResult(call_id="1", name="add", error=ToolError(kind=ToolErrorKind.TIMEOUT, message="slow"))
    return Trajectory(
        history=(Message(role="user", content="before"),),
        messages=(
            Message(role="user", content=text),
            Message(role="assistant", tool_calls=(call,)),
            Message(role="tool", content="error", tool_result=failed),
            Message(role="assistant", content="☃"),
        ),
        tools=("add",),
        adapter="adapter-0001",
        prompt_version="v",
        sampling=Sampling(),
        stop_reason="answered",
    )


@pytest.fixture
def path(data_folder: Path) -> Path:
    """A log on either database."""
    return data_folder / "interactions.db"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A log in a SQLite file."""
    return tmp_path / "data" / "interactions.db"


def test_a_turn_comes_back_as_it_was(path: Path) -> None:
    schemas = ({"type": "function", "function": {"name": "add"}},)
    with InteractionLog(path, now=lambda: 1000.5) as log:
        identity = log.append(turn(), session="s", source="chat", tool_schemas=schemas)
        (found,) = log.read()
    assert found.trajectory == turn()
    assert (found.id, found.session, found.source, found.created_at) == (identity, "s", "chat", 1000.5)
    assert found.tool_schemas == schemas
    with InteractionLog(path) as again:
        assert again.read() == [found]


def test_ids_sort_in_the_order_of_appending_also_when_the_clock_goes_back(path: Path) -> None:
    times = iter([50.0, 50.0, 10.0, 60.0])
    with InteractionLog(path, now=lambda: next(times)) as log:
        ids = [log.append(turn(str(n)), session="", source="chat") for n in range(4)]
        assert ids == sorted(set(ids))
        assert [i.id for i in log.read()] == ids


def test_reading_in_parts(path: Path) -> None:
    with InteractionLog(path) as log:
        ids = [log.append(turn(str(n)), session=f"s{n % 2}", source="chat") for n in range(5)]
        assert [i.id for i in log.read(limit=2)] == ids[3:]
        assert [i.id for i in log.read(since_id=ids[1])] == ids[2:]
        assert [i.id for i in log.read(limit=2, since_id=ids[0])] == ids[1:3]
        assert [i.id for i in log.read_session("s0", source="chat", limit=2)] == [ids[2], ids[4]]
        assert log.read_session("s0", source="gateway", limit=2) == []


def test_feedback_is_kept_in_order(path: Path) -> None:
    with InteractionLog(path) as log:
        identity = log.append(turn(), session="", source="chat")
        log.feedback(identity, "bad", "wrong sum")
        log.feedback(identity, "good")
        assert log.read()[0].feedback == (
            Feedback(interaction_id=identity, verdict="bad", note="wrong sum"),
            Feedback(interaction_id=identity, verdict="good"),
        )
        with pytest.raises(UserError, match="no interaction 17; see their ids with: agent log"):
            log.feedback("17", "good")


def test_many_writers_lose_and_double_nothing(path: Path) -> None:
    stored: list[str] = []

    def write() -> None:
        with InteractionLog(path) as log:
            for _ in range(5):
                stored.append(log.append(turn(), session="", source="chat"))  # noqa: PERF401

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with InteractionLog(path) as log:
        assert [i.id for i in log.read()] == sorted(stored)
    assert len(stored) == len(set(stored)) == 30


def test_what_was_acknowledged_is_there_after_kill_9(path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from agent.storage import database_server\n"
        "from agent.log.interaction_log import InteractionLog\n"
        "from tests.unit.agent.log.test_interaction_log import turn\n"
        "path = Path(sys.argv[1])\n"
        "database_server.keep(path.parent, sys.argv[2])\n"
        "log = InteractionLog(path)\n"
        "while True: print(log.append(turn(), session='', source='chat'), flush=True)\n"
    )
    command = [sys.executable, "-c", code, str(path), server_of(path.parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[4]) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline().strip() for _ in range(20)]
        writer.kill()
        acknowledged += writer.stdout.read().split("\n")[:-1]
    with InteractionLog(path) as log:
        stored = [i.id for i in log.read()]
        assert stored[: len(acknowledged)] == acknowledged
        assert len(stored) <= len(acknowledged) + 1
        if isinstance(log._db, Database):
            assert log._db.raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert log._db.raw.execute("PRAGMA foreign_key_check").fetchall() == []


def test_settings_that_make_an_append_durable(file: Path) -> None:
    with InteractionLog(file) as log:
        assert log._db.raw.journal_mode == "wal"
        assert log._db.raw.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_readers_cannot_write(path: Path) -> None:
    with InteractionLog(path) as log:
        log.append(turn(), session="", source="chat")
        with InteractionLog.open_readonly(path) as reader:
            assert len(reader.read()) == 1
            with pytest.raises(StorageError, match="cannot be written"):
                reader.append(turn(), session="", source="chat")
        log.append(turn(), session="", source="chat")


def test_a_log_that_is_not_there_reads_as_empty_and_is_not_made(file: Path) -> None:
    with InteractionLog.open_readonly(file) as reader:
        assert reader.read() == []
    assert not file.exists()


def test_full_disk_is_one_clear_line_and_loses_nothing_stored(file: Path) -> None:
    with InteractionLog(file) as log:
        log.append(turn(), session="", source="chat")
        pages = log._db.raw.execute("PRAGMA page_count").fetchone()[0]
        log._db.raw.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(StorageError) as raised:
            log.append(turn("x" * 100_000), session="", source="chat")
        assert str(raised.value) == f"{file}: the disk is full; free some space and try again"
        log._db.raw.execute("PRAGMA max_page_count=100000")
        log.append(turn("after"), session="", source="chat")
        assert [i.trajectory.messages[0].content for i in log.read()] == ["hi", "after"]


def test_damaged_file(file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(b"no database at all " * 100)
    with pytest.raises(StorageError, match="is damaged; move it away or restore a backup"):
        InteractionLog(file)


def test_a_migration_and_its_record_stand_or_fall_together(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agent.log import migrations as module

    def fails(db: object) -> None:
        db.execute("CREATE TABLE half (x)")  # type: ignore[attr-defined]
        raise sqlite3.OperationalError("database or disk is full")

    steps = module.migrations._migrations
    monkeypatch.setattr(module.migrations, "_migrations", list(steps))
    module.migrations(name="m999")(fails)
    with pytest.raises(StorageError):
        InteractionLog(file)
    monkeypatch.setattr(module.migrations, "_migrations", steps)
    with InteractionLog(file) as log:
        assert "half" not in log._db.raw.table_names()
        log.append(turn(), session="", source="chat")


def test_old_sqlite_is_refused() -> None:
    check_sqlite_version("3.51.3")
    check_sqlite_version("4.0.0")
    with pytest.raises(PrerequisiteError, match=r"SQLite 3.51.2 is too old .*: pip install -U pysqlite3"):
        check_sqlite_version("3.51.2")
    assert sqlite3.sqlite_version_info >= (3, 51, 3)
    assert system_sqlite3.apilevel == "2.0"


def test_the_newest_of_one_adapter(path: Path) -> None:
    with InteractionLog(path) as log:
        ids = [
            log.append(turn().model_copy(update={"adapter": name}), session="s", source="chat")
            for name in ("one", "one", "two", "one", "two")
        ]
        assert [found.id for found in log.of_adapter("one")] == [ids[3], ids[1], ids[0]]
        assert [found.id for found in log.of_adapter("one", after=ids[1])] == [ids[3]]
        assert list(log.of_adapter("three")) == []
        theirs = log.append(turn().model_copy(update={"adapter": "one"}), session="s", source="chat", tenant="sales")
        assert [found.id for found in log.of_adapter("one", tenant="sales")] == [theirs]
        assert [found.id for found in log.of_adapter("one", tenant="")] == [ids[3], ids[1], ids[0]]
        assert next(log.of_adapter("one")).id == theirs


def test_one_is_found_by_its_id_and_counted_from_another(path: Path) -> None:
    times = iter([10.0, 20.0, 30.0])
    with InteractionLog(path, now=lambda: next(times)) as log:
        assert (log.count(), log.stored_at(1), log.find("1"), log.back(1, from_id="1")) == ((0, ""), None, None, "")
        ids = [log.append(turn(text), session="s", source="chat") for text in ("a", "b", "c")]
        found = log.find(ids[1])
        assert found is not None
        assert found.trajectory.messages[0].content == "b"
        assert (log.count(), log.count(ids[0]), log.count(ids[2])) == ((3, ids[2]), (2, ids[2]), (0, ""))
        assert [log.stored_at(number, after=ids[0]) for number in (1, 2, 3)] == [20.0, 30.0, None]
        assert [log.back(count, from_id=ids[2]) for count in (0, 1, 2, 3)] == [ids[2], ids[1], ids[0], ""]


def found(log: InteractionLog, text: str, limit: int = 10) -> list[str]:
    return [one.trajectory.messages[0].content for one in log.search(text, limit=limit)]


def test_turns_are_found_by_their_words(path: Path) -> None:
    with InteractionLog(path) as log:
        for text, answer in (("Ship to Zürich", "Three days."), ("Ship a parcel", "Where to?"), ("Hello", "Hi!")):
            messages = (Message(role="user", content=text), Message(role="assistant", content=answer))
            log.append(turn().model_copy(update={"messages": messages}), session="s", source="chat")
        assert found(log, "SHIP") == ["Ship to Zürich", "Ship a parcel"]
        assert found(log, "days zur") == ["Ship to Zürich"]
        assert found(log, "ship hello") == []
        assert found(log, "ship", limit=1) == ["Ship a parcel"]
        assert found(log, 'NEAR("ship" OR -*') == []
        assert found(log, "ip") == []


def test_what_is_forgotten_is_not_found_and_leaves_no_word_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with InteractionLog(path) as log:
        messages = (Message(role="user", content="My xylophone broke"), Message(role="assistant", content="Sorry."))
        gone = log.append(turn().model_copy(update={"messages": messages}), session="s", source="chat")
        log.append(turn(), session="other", source="chat")
        assert found(log, "xylophone") == ["My xylophone broke"]
        log.forget(gone)
        assert found(log, "xylophone") == []
    assert b"xylophone" not in path.read_bytes()


def test_pages_that_moved_keep_nothing_of_what_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with InteractionLog(path) as log:
        ids = []
        for number in range(200):
            said = Message(role="user", content=f"zither{number:03d} {'word ' * (number * 37 % 150)}")
            messages = (said, Message(role="assistant", content="Sorry."))
            ids.append(log.append(turn().model_copy(update={"messages": messages}), session=str(number), source="chat"))
        for number in range(0, 200, 7):
            log.forget(ids[number])
    content = path.read_bytes()
    assert [number for number in range(0, 200, 7) if b"zither%03d" % number in content] == []
    assert b"zither001" in content


def test_forgetting_takes_as_long_in_a_long_log(tmp_path: Path) -> None:
    def steps_to_forget(turns: int) -> int:
        """Return the instructions of SQLite, in hundreds, that forgetting takes in a log of so many turns."""
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        with InteractionLog(tmp_path / f"{turns}.db") as log:
            with log.batch() as add:
                ids = [add(log.entry(turn(), session=str(n), source="chat"), "") for n in range(turns)]
            log._db.raw.conn.set_progress_handler(count, 100)
            assert log.forget(ids[turns // 2])
        return steps

    assert steps_to_forget(500) <= 2 * steps_to_forget(10)


def test_a_log_of_before_can_be_searched(tmp_path: Path) -> None:
    from agent.log import migrations as module

    path = tmp_path / "log.db"
    with InteractionLog(path) as log:
        log.append(turn(), session="s", source="chat")
        asked = log.read()[0].trajectory.messages[0].content
        for trigger in ("said_with_interaction", "said_no_more"):
            log._db.raw.execute(f"DROP TRIGGER {trigger}")
        for table in ("said", "said_at"):
            log._db.raw.execute(f"DROP TABLE {table}")
        steps = ["m007_words", "m010_words_by_number"]
        log._db.raw.execute("DELETE FROM _sqlite_migrations WHERE name IN (?, ?)", steps)
        log._db.raw.conn.commit()
        assert [step.name for step in module.migrations.pending(log._db.raw)] == steps
    with InteractionLog.open_readonly(path) as log:
        assert found(log, asked.split()[0]) == [asked]


def test_interactions_are_deleted_together_by_session_owner_or_tenant(tmp_path: Path) -> None:
    with InteractionLog(tmp_path / "log.db") as log:
        ids = [
            log.append(turn(), session=session, source="gateway", owner=owner, tenant=tenant)
            for session, owner, tenant in (("a", "ann", "acme"), ("b", "ann", "acme"), ("a", "ben", "zoo"))
        ]
        assert list(log.ids_of()) == ids
        assert list(log.ids_of(session="a")) == [ids[0], ids[2]]
        assert list(log.ids_of(session="a", tenant="acme")) == ids[:1]
        assert log.ids_of(owner="ben") == {ids[2]: ("gateway", "zoo", "ben", "a")}
        log.feedback(ids[0], "good")
        assert log.forget_all([*ids[:2], "000000000000-0000"]) == 2
        assert [one.id for one in log.read()] == ids[2:]
        assert log.forget_all(ids[:2]) == 0
