"""Lessons leave with where they come from; what may no longer be used does not leave."""

import json
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from agent.log.interaction_log import InteractionLog
from agent.turn.messages import Message
from evolver.cli.main import main
from evolver.config import DatasetConfig
from evolver.dataset.client_rows import client_rows
from evolver.dataset.rows import call_row, declined_row, repaired_row
from evolver.maintenance import export_lessons as module
from evolver.maintenance.export_lessons import export_lessons
from evolver.maintenance.forget import forget
from evolver.store.dataset_files import write_dataset
from evolver.store.ledger import Ledger
from evolver.types import Adapter, Call, ClientTurn, Failure, Trace, TraceKind
from tests.fakes.client_traffic import WEATHER
from tests.fakes.evolution import trace, turn
from toolkit.errors import UserError
from toolkit.tool import ToolCall, ToolError, ToolErrorKind

MADE = trace("add 1 and 2", "add", {"a": 1, "b": 2}, 3, identity="made", answer="It is 3.")
TALK = trace("hello there", identity="talk")


class Place:
    """Two cycles: the first learned from a logged turn and from made ones, the second replays the logged one."""

    def __init__(self, data: Path) -> None:
        self.data = data
        with InteractionLog(data / "interactions.db") as log:
            call = ("add", {"a": 4711, "b": 815}, 5526)
            self.logged = log.append(
                turn("my 4711 and 815", call), session="s", source="gateway", owner="ann", tenant="acme"
            )
            self.other = log.append(turn("more of this"), session="s", source="gateway", owner="bob")
        self.lived = self.trace_of(self.logged)
        self.add_cycle(1, [call_row("0", MADE, []), call_row("1", self.lived, []), declined_row("2", TALK, [])])
        self.add_cycle(2, [call_row("0", self.lived.model_copy(update={"id": "0001/lived"}), [])])

    def trace_of(self, interaction: str, kind: TraceKind = TraceKind.LOGGED) -> Trace:
        made = trace("my 4711 and 815", "add", {"a": 4711, "b": 815}, 5526, identity="lived", kind=kind)
        return made.sourced(interaction_id=interaction, calls_interaction_id=interaction, model="base")

    def add_cycle(self, number: int, train: list[dict[str, Any]]) -> None:
        folder = self.data / "cycles" / f"{number:04d}"
        folder.mkdir(parents=True)
        write_dataset(folder / "dataset", train=train, valid=[])
        with Ledger(self.data / "evolution.db") as ledger:
            ledger.open_cycle()
            made = Adapter(name=f"adapter-{number:04d}", folder=self.data, sha256="0")
            ledger.add_adapter(made, number, "base", "")
            ledger.end_cycle(number, "rejected", "for a test")

    def exported(self, *cycles: int) -> list[dict[str, Any]]:
        file = self.data / "out.jsonl"
        export_lessons(self.data, file, set(cycles) or None)
        return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "data")


def test_each_lesson_leaves_once_with_its_sources(place: Place) -> None:
    made, lived, talk = place.exported()
    assert [message["role"] for message in made["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert made["metadata"]["verified"] == "executed"
    assert made["metadata"]["interaction_ids"] == made["metadata"]["owners"] == []
    assert lived["metadata"] == {
        "lesson": "0001/lived",
        "cycle": 1,
        "split": "train",
        "kind": "logged",
        "interaction_ids": [place.logged],
        "verified": "logged",
        "not_executed": False,
        "model": "base",
        "owners": ["ann"],
        "tenants": ["acme"],
    }
    assert talk["metadata"]["verified"] == "checked"


def test_a_call_that_was_made_up_for_a_clients_tool_is_not_called_executed(place: Place) -> None:
    from pyarrow import parquet

    asked = Message(role="user", content="Weather in Bern?")
    call = ToolCall(id="call-0", name="get_weather", arguments={"city": "Bern"})
    said = Message(role="assistant", tool_calls=(call,))
    made = trace("Weather in Bern?", "get_weather", {"city": "Bern"}, identity="made up").model_copy(
        update={"results": (), "client_turn": ClientTurn(tools=(WEATHER,), messages=(asked, said), targets=(1,))}
    )
    made = made.sourced(other_interaction_ids=(place.logged,), not_executed=True)
    assert made.kind is TraceKind.BACK_TRANSLATION
    place.add_cycle(3, client_rows(DatasetConfig(), [made], Random(0)))
    corrected = place.trace_of(place.logged, TraceKind.CORRECTED).sourced(not_executed=True)
    place.add_cycle(4, [call_row("0", corrected, []), call_row("1", MADE, [])])
    found = [(row["metadata"]["verified"], row["metadata"]["not_executed"]) for row in place.exported(3, 4)]
    assert found == [("checked", True), ("person", True), ("executed", False)]
    export_lessons(place.data, place.data / "out.parquet", {3, 4})
    rows = parquet.read_table(place.data / "out.parquet").to_pylist()
    assert [(row["verified"], row["not_executed"]) for row in rows] == found


def test_a_cycle_exports_what_it_learned_replayed_lessons_included(place: Place) -> None:
    assert [row["metadata"]["lesson"] for row in place.exported(2)] == ["0001/lived"]


def test_a_forgotten_lesson_does_not_leave(place: Place) -> None:
    with Ledger(place.data / "evolution.db") as ledger:
        forget(place.data, ledger, place.logged)
    assert "4711" not in json.dumps(place.exported())


def test_nor_does_one_whose_forgetting_was_cut_off(place: Place) -> None:
    with InteractionLog(place.data / "interactions.db") as log:
        log.forget(place.logged)
    report = export_lessons(place.data, place.data / "out.jsonl")
    assert (report.lessons, report.forgotten) == (2, 2)


def test_a_lesson_that_was_called_bad_since_does_not_leave(place: Place) -> None:
    with InteractionLog(place.data / "interactions.db") as log:
        log.feedback(place.logged, "bad")
    report = export_lessons(place.data, place.data / "out.jsonl")
    assert (report.lessons, report.wrong, report.forgotten) == (2, 2, 0)


def test_a_lesson_of_another_model_leaves_only_while_the_owner_says_so(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = place.lived.sourced(model="upstream:gpt").model_copy(update={"id": "theirs"})
    place.add_cycle(3, [call_row("0", theirs, [])])
    report = export_lessons(place.data, place.data / "out.jsonl")
    assert (report.lessons, report.wrong) == (3, 1)
    assert export_lessons(place.data, place.data / "out.jsonl", learn_from_upstream=True).lessons == 4
    for setting, written in (("false", 3), ("true", 4)):
        shadow = f"[agent.serving.shadow]\nlearn_from_upstream = {setting}\n"
        assert evolver(place, "--lessons", str(place.data / "out.jsonl"), "--json", settings=shadow) == 0
        assert json.loads(capsys.readouterr().out)["lessons"] == written


def test_an_interaction_that_is_forgotten_while_lessons_are_written_stops_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgotten_now(*args: Any) -> Any:
        with InteractionLog(place.data / "interactions.db") as log:
            log.forget(place.logged)
        return record(*args)

    record = module._record
    monkeypatch.setattr(module, "_record", forgotten_now)
    with pytest.raises(UserError, match="forgotten meanwhile"):
        export_lessons(place.data, place.data / "out.jsonl")
    assert not list(place.data.glob("*out.jsonl*"))


def test_messages_that_carry_no_loss_have_weight_0(place: Place) -> None:
    error = ToolError(kind=ToolErrorKind.TOOL_FAILED, message="no")
    failed = Failure(call=Call(name="add", arguments={"a": 1}), error=error)
    repaired = place.trace_of(place.logged, TraceKind.REPAIRED).model_copy(update={"failures": (failed,)})
    place.add_cycle(3, [repaired_row("0", repaired, [])])
    (row,) = place.exported(3)
    assert [message.get("weight") for message in row["messages"] if message["role"] == "assistant"] == [0, None]


def test_parquet_has_a_column_for_each_field(place: Place) -> None:
    from pyarrow import parquet

    file = place.data / "out.parquet"
    export_lessons(place.data, file)
    rows = parquet.read_table(file).to_pylist()
    assert [row["lesson"] for row in rows] == ["0001/made", "0001/lived", "0001/talk"]
    assert rows[1]["interaction_ids"] == [place.logged]
    assert rows[1]["owners"] == ["ann"]
    call = rows[1]["messages"][1]["tool_calls"][0]["function"]
    assert (call["name"], json.loads(call["arguments"])) == ("add", {"a": 4711, "b": 815})
    assert json.loads(rows[0]["tools"]) == []


def evolver(place: Place, *arguments: str, settings: str = "") -> int:
    file = place.data.parent / "config.toml"
    file.write_text('data_folder = "data"\n' + settings)
    sys.argv = ["evolver", "export", *arguments, "--config", str(file)]
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_the_command_writes_the_lessons_of_an_adapter(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    file = place.data / "out.jsonl"
    assert evolver(place, "--lessons", str(file), "--adapter", "adapter-0002", "--json") == 0
    assert json.loads(capsys.readouterr().out)["lessons"] == 1
    assert len(file.read_text().splitlines()) == 1


def test_the_command_writes_the_lessons_of_a_tenant_alone(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    mixed = place.lived.model_copy(update={"id": "mixed"}).sourced(other_interaction_ids=(place.other,))
    place.add_cycle(3, [call_row("0", mixed, [])])
    file = place.data / "out.jsonl"
    assert evolver(place, "--lessons", str(file), "--tenant", "acme") == 0
    (row,) = map(json.loads, file.read_text().splitlines())
    assert (row["metadata"]["lesson"], row["metadata"]["tenants"]) == ("0001/lived", ["acme"])
    assert "left out: 3 not made from interactions of acme alone" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--lessons", "x.jsonl", "--tenant", "acne"], "there is no tenant acne; there is: acme"),
        (["adapter-0001", "--tenant", "acme"], "--tenant goes with --lessons"),
        ([], "say what to export"),
        (["--lessons", "x.csv"], "name it .jsonl or .parquet"),
        (["--lessons", "/nowhere/x.jsonl"], "make that folder first"),
        (["--lessons", "x.jsonl", "--cycle", "9"], "there is no cycle 9"),
        (["--lessons", "x.jsonl", "--adapter", "adapter-0009"], "there is no adapter adapter-0009"),
        (["--lessons", "x.jsonl", "--adapter", "a", "--cycle", "1"], "not both"),
    ],
)
def test_bad_input_is_one_line(
    place: Place, arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evolver(place, *arguments) == 2
    said = capsys.readouterr().err
    assert line in said
    assert len(said.splitlines()) == 1


def test_parquet_without_pyarrow_is_one_line(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert evolver(place, "--lessons", "x.parquet") == 2
    assert "pip install 'apprentice-agent[parquet]'" in capsys.readouterr().err


def test_a_place_without_lessons_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no lesson yet"):
        export_lessons(tmp_path, tmp_path / "out.jsonl")
