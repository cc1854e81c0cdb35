"""Deleting an interaction deletes what came of it, and says which adapters may know it."""

import json
import os
from pathlib import Path

import pytest

from agent.log.interaction_log import InteractionLog
from agent.turn.messages import Message
from evolver.maintenance.forget import forget
from evolver.store.cycle_folder import read_marker, write_marker
from evolver.store.dataset_files import folder_sha256
from evolver.store.jsonl import append_lines, read_lines
from evolver.store.ledger import Ledger
from evolver.tool_making.pool import ToolPool
from evolver.types import Adapter, Dataset, Mined, Task, Trace, TraceKind
from tests.fakes.evolution import trace, turn
from tests.unit.evolver.tool_making.test_pool import made
from toolkit.errors import UserError

SECRET = "what do 4711 and 815 of my secret add up to"
CALL = ("add", {"a": 4711, "b": 815}, 5526)


class Place:
    """A data folder with two interactions, of which the first was learned from in cycle 1 and replayed in cycle 3."""

    def __init__(self, data: Path) -> None:
        self.data = data
        with InteractionLog(data / "interactions.db") as log:
            self.gone = log.append(turn(SECRET, CALL, answer="5526, of course"), session="s", source="chat")
            later = turn("thank you very much", history=turn(SECRET, CALL, answer="5526, of course").messages)
            self.stays = log.append(later, session="s", source="chat")
            log.feedback(self.gone, "good", "my secret note")
        mine, other = self.logged(SECRET, self.gone), self.logged("thank you very much", self.stays)
        repaired = trace("thank you again", "add", {"a": 1}, 1).sourced(other_interaction_ids=(self.gone,))
        tasks = tuple(
            Task(
                interaction_id=one.provenance.interaction_id,
                session="s",
                source="chat",
                request=one.request,
                outcome="called",
            )
            for one in (mine, other)
        )
        for number in (1, 2, 3):
            folder = data / "cycles" / f"{number:04d}"
            append_lines(folder / "kept.jsonl", [other, *([mine, repaired] if number == 1 else [])])
        mined = Mined(interactions=2, last_interaction_id=self.stays, tasks=tasks, worked=(mine, other))
        (data / "cycles/0001/mine.json").write_text(mined.model_dump_json())
        asked = [{"prompt": f"Request: {SECRET}\nCall:"}, {"prompt": "Request: something else"}]
        (data / "cycles/0001/requests.jsonl").write_text("".join(json.dumps(line) + "\n" for line in asked))
        lost = [{"job": f"self_consistency-{one}", "dropped": {"no_majority": 1}} for one in (self.gone, self.stays)]
        (data / "cycles/0001/lost.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lost))
        lessons = data / "cycles/0003/dataset"
        lessons.mkdir()
        rows = [{"id": str(n), "provenance": {"interaction_id": one}} for n, one in enumerate((self.gone, self.stays))]
        (lessons / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    @staticmethod
    def logged(request: str, origin: str) -> Trace:
        return trace(request, "add", {"a": 1}, 1, kind=TraceKind.LOGGED).sourced(interaction_id=origin)

    def everything(self) -> str:
        files = [file for file in self.data.rglob("*") if file.is_file() and "evolution" not in file.name]
        return "".join(file.read_bytes().decode("latin-1") for file in files)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def adapters(ledger: Ledger) -> None:
    for number in (1, 2, 3):
        cycle = ledger.open_cycle().number
        name = f"adapter-{number:04d}"
        ledger.add_adapter(Adapter(name=name, folder=Path("unused"), sha256="a"), cycle, "base", "d")
        ledger.end_cycle(cycle, "promoted", "")


def test_nothing_of_it_is_left_on_disk(place: Place) -> None:
    assert "4711" in place.everything()
    with Ledger(place.data / "evolution.db") as ledger:
        adapters(ledger)
        found = forget(place.data, ledger, place.gone)
        assert ledger.marks().keys() == {"adapter-0001", "adapter-0003"}
    assert (found.logged, found.adapters) == (True, ("adapter-0001", "adapter-0003"))
    left = place.everything()
    assert not [word for word in ("4711", "5526", "secret") if word in left]
    lines = [line for file in place.data.rglob("*.jsonl") for line in file.read_text().splitlines()]
    assert not [line for line in lines if place.gone in line]
    assert any(f"self_consistency-{place.stays}" in line for line in lines)


@pytest.mark.parametrize("word", ["something", "", "Call", "0", "000000000000-0000"])
def test_a_word_that_is_no_id_deletes_nothing(place: Place, word: str) -> None:
    """It stands in what was asked, and would be searched for there."""
    before = place.everything()
    with Ledger(place.data / "evolution.db") as ledger:
        adapters(ledger)
        with pytest.raises(UserError, match="there is no interaction"):
            forget(place.data, ledger, word)
        assert not ledger.marks()
    assert place.everything() == before


def test_an_adapter_that_continues_one_that_may_know_it_may_know_it_too(place: Place) -> None:
    with Ledger(place.data / "evolution.db") as ledger:
        adapters(ledger)
        for parent in ("adapter-0002", "adapter-0003", "adapter-0005"):
            cycle = ledger.open_cycle().number
            child = Adapter(name=f"adapter-{cycle:04d}", folder=Path("unused"), sha256="a")
            ledger.add_adapter(child, cycle, parent, "d")
            ledger.end_cycle(cycle, "promoted", "")
        found = forget(place.data, ledger, place.gone)
    assert found.adapters == ("adapter-0001", "adapter-0003", "adapter-0005", "adapter-0006")


def test_an_adapter_whose_training_has_begun_may_know_it(place: Place) -> None:
    """It is registered only when it is loaded."""
    with Ledger(place.data / "evolution.db") as ledger:
        ledger.end_cycle(ledger.open_cycle().number, "rejected", "")
        ledger.end_cycle(ledger.open_cycle().number, "rejected", "")
        assert ledger.open_cycle().number == 3
        (place.data / "adapters" / ".adapter-0003.work").mkdir(parents=True)
        assert forget(place.data, ledger, place.gone).adapters == ("adapter-0003",)
        assert ledger.marks().keys() == {"adapter-0003"}


@pytest.mark.parametrize("asked", ["first line\nsecond line", 'a "quoted" word\tand a tab', "call Ann 42", "sort"])
def test_a_prompt_that_holds_the_request_on_one_line_goes_too(tmp_path: Path, asked: str) -> None:
    with InteractionLog(tmp_path / "interactions.db") as log:
        gone = log.append(turn(asked), session="s", source="chat")
    requests = tmp_path / "cycles/0001/requests.jsonl"
    requests.parent.mkdir(parents=True)
    other = f"{asked} another line" if len(asked) < 12 else "another line"
    lines = [{"prompt": f"Request: {text}\nFunction:"} for text in (asked, " ".join(asked.split()), other)]
    requests.write_text("".join(json.dumps(line) + "\n" for line in lines))
    lesson = requests.with_name("kept.jsonl")
    lesson.write_text(json.dumps({"request": f"Please {asked} now"}) + "\n")
    with Ledger(tmp_path / "evolution.db") as ledger:
        forget(tmp_path, ledger, gone)
    assert [json.loads(line)["prompt"] for line in requests.read_text().splitlines()] == [lines[2]["prompt"]]
    assert bool(lesson.read_text()) is (len(asked) < 12), "a few words are others' words too"


def test_what_others_said_stays(place: Place) -> None:
    with Ledger(place.data / "evolution.db") as ledger:
        forget(place.data, ledger, place.gone)
    with InteractionLog.open_readonly(place.data / "interactions.db") as log:
        (left,) = log.read()
    assert (left.id, left.trajectory.history) == (place.stays, ())
    first = place.data / "cycles/0001"
    assert [one.request for one in read_lines(first / "kept.jsonl", Trace)] == ["thank you very much"]
    mined = Mined.model_validate_json((first / "mine.json").read_text())
    assert (
        [task.interaction_id for task in mined.tasks]
        == [one.provenance.interaction_id for one in mined.worked]
        == [place.stays]
    )
    assert "something else" in (first / "requests.jsonl").read_text()
    rows = (place.data / "cycles/0003/dataset/train.jsonl").read_text().splitlines()
    assert [json.loads(row)["id"] for row in rows] == ["1"]


@pytest.mark.parametrize("line_break", ["\u2028", "\u2029", "\u0085"])
def test_line_breaks_of_unicode_in_what_others_said_break_nothing(place: Place, line_break: str) -> None:
    file = place.data / "cycles/0001/lost.jsonl"
    other = json.dumps({"job": f"talk{line_break}of others"}, ensure_ascii=False)
    file.write_text(file.read_text() + other + "\n")
    with Ledger(place.data / "evolution.db") as ledger:
        forget(place.data, ledger, place.gone)
    assert file.read_text().split("\n")[-2:] == [other, ""]


def test_again_there_is_nothing_to_delete(place: Place) -> None:
    with Ledger(place.data / "evolution.db") as ledger:
        forget(place.data, ledger, place.gone)
        with pytest.raises(UserError, match=f"no interaction {place.gone}"):
            forget(place.data, ledger, place.gone)
        assert forget(place.data, ledger, place.stays).logged


def test_what_was_cut_off_is_finished(place: Place) -> None:
    """The log's entry is gone already, its traces are not."""
    with InteractionLog(place.data / "interactions.db") as log:
        assert log.forget(place.gone)
    with Ledger(place.data / "evolution.db") as ledger:
        found = forget(place.data, ledger, place.gone)
    assert (found.logged, found.values > 0) == (False, True)


@pytest.mark.parametrize(
    ("session", "owner", "stays"), [("one", "ann", False), ("two", "ann", True), ("one", "ann-at-home", False)]
)
def test_a_message_of_the_same_words_in_another_session_stays(
    tmp_path: Path, session: str, owner: str, stays: bool
) -> None:
    with InteractionLog(tmp_path / "interactions.db") as log:
        gone = log.append(turn("hello"), session="one", source="gateway", owner="ann")
        said = (Message(role="user", content="hello"),)
        log.append(turn("and now", history=said), session=session, source="gateway", owner=owner)
        assert log.forget(gone)
        assert [one.trajectory.history for one in log.read()] == [said if stays else ()]


def test_the_recorded_dataset_is_what_is_left_and_scores_that_quote_it_go(place: Place) -> None:
    folder, scores = place.data / "cycles/0003", place.data / "evaluations"
    rows = [{"id": "0", "interaction_id": place.gone, "decision": "call"}, {"id": "1", "decision": None}]
    (folder / "dataset/train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "dataset/valid.jsonl").write_text("")
    was = Dataset(
        folder=folder / "dataset",
        sha256=folder_sha256(folder / "dataset"),
        train=2,
        valid=0,
        calls=1,
        no_calls=1,
        replayed=0,
    )
    write_marker(folder / "dataset.json", was)
    scores.mkdir()
    (scores / "replay-x-base.jsonl").write_text('{"id": "0001/0"}\n')
    (scores / "heldout-x-base.jsonl").write_text('{"id": "h1"}\n')
    with Ledger(place.data / "evolution.db") as ledger:
        adapters(ledger)
        forget(place.data, ledger, place.gone)
        noted = ledger.cycles(3)[0].summary["dataset"]
        assert ledger.adapters()[0].dataset_sha256 == "d"
    now = read_marker(folder / "dataset.json", Dataset)
    assert now is not None
    assert now.sha256 == folder_sha256(folder / "dataset") == noted["sha256"] != was.sha256
    assert (now.train, now.calls, now.no_calls) == (1, 0, 1)
    assert [file.name for file in scores.iterdir()] == ["heldout-x-base.jsonl"]


def test_tools_that_were_made_for_it_go_with_all_that_names_them(place: Place) -> None:
    with Ledger(place.data / "evolution.db") as ledger:
        pool = ToolPool(place.data, ledger)
        for name, interaction in (("secret_sum", place.gone), ("other_sum", place.stays)):
            pool.add(made(name), [], cycle=1, maker="base", interaction_id=interaction, request=SECRET)
            pool.approve(name)
        lessons = [
            trace(f"what is {name}", name, {"total": 1}, 1) for name in ("secret_sum", "other_sum", "secret_sums")
        ]
        append_lines(place.data / "cycles/0002/kept.jsonl", lessons)
        found = forget(place.data, ledger, place.gone)
        left = [tool.name for tool in pool.tools()]
    assert found.tools == ("secret_sum",)
    assert left == ["other_sum"]
    assert [path.name for path in (place.data / "approved_tools").iterdir()] == ["other_sum.json"]
    calls = [call.name for one in read_lines(place.data / "cycles/0002/kept.jsonl", Trace) for call in one.calls]
    assert "secret_sum" not in calls
    assert {"other_sum", "secret_sums"} <= set(calls)


def test_a_power_loss_brings_nothing_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file that was rewritten or deleted is followed by a flush of its folder."""
    unflushed: set[Path] = set()
    fsync, replace, unlink = os.fsync, os.replace, os.unlink

    def flushing(descriptor: int) -> None:
        fsync(descriptor)
        unflushed.discard(Path(f"/proc/self/fd/{descriptor}").readlink())

    def renaming(source: Path, target: Path) -> None:
        replace(source, target)
        unflushed.add(Path(target).parent)

    def deleting(path: Path) -> None:
        unlink(path)
        unflushed.add(Path(path).parent)

    evaluations = place.data / "evaluations"
    evaluations.mkdir()
    (evaluations / "replay-base.jsonl").write_text("{}\n")
    drafts = place.data / "cycles" / "0099"
    drafts.mkdir(parents=True)
    (drafts / ".kept.jsonl.abc").write_text("{}\n")
    with Ledger(place.data / "evolution.db") as ledger:
        adapters(ledger)
        monkeypatch.setattr(os, "fsync", flushing)
        monkeypatch.setattr(os, "replace", renaming)
        monkeypatch.setattr(os, "unlink", deleting)
        assert forget(place.data, ledger, place.gone).values > 0
    assert not (evaluations / "replay-base.jsonl").exists()
    assert not list(drafts.iterdir())
    assert unflushed == set()


def test_drafts_that_a_crash_left_are_forgotten_too(place: Place) -> None:
    draft = place.data / "cycles" / "0001" / ".kept.jsonl.k3j2h1g0"
    draft.write_text(SECRET)
    with Ledger(place.data / "evolution.db") as ledger:
        forget(place.data, ledger, place.gone)
    assert not draft.exists()
