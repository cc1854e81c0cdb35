"""What the maker's own adapter learns, and when it makes."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver.config import MakeConfig
from evolver.errors import TrainError
from evolver.few_shots import arguments_prompt, request_prompt
from evolver.generate import Generator
from evolver.own_maker import FEWEST_LESSONS, learn, lessons
from evolver.training.render import Row, RowInvalid, read_rows
from evolver.training.render import lessons as rendered
from evolver.types import Adapter, Call, OwnMaker, Trace
from evolver.wilson import rate
from tests.fakes import shop_tools
from tests.fakes.evolution import trace
from tests.fakes.shop_tools import registry

ADAPTER = Adapter(name="maker-0002", folder=Path("maker-0002"), sha256="0" * 64)


def adding(first: int, request: str = "", **more: Any) -> Trace:
    made = trace(request or f"Add {first} and 70.", "add_prices", {"first": first, "second": 70}, first + 70)
    return made.model_copy(update=more)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), unique=True), st.integers(0, 99))
def test_each_wording_and_each_call_once_and_no_call_on_both_sides(kept: list[tuple[int, int]], seed: int) -> None:
    traces = [adding(first, f"Wording {wording} with {first}.") for first, wording in kept]
    sides = lessons(traces, registry(), seed=seed)
    tool = registry().get("add_prices")
    assert tool is not None
    asked = arguments_prompt(tool)
    calls = [{row["completion"] for row in side if row["prompt"] == asked} for side in sides]
    words = [{row["completion"] for row in side if row["prompt"] != asked} for side in sides]
    assert calls[0].isdisjoint(calls[1])
    assert calls[0] | calls[1] == {json.dumps({"first": first, "second": 70}) for first, _ in kept}
    assert words[0] | words[1] == {f" {one.request}" for one in traces}
    for side, values in zip(sides, calls, strict=True):
        wanted = {request_prompt(tool, Call(name=tool.name, arguments=json.loads(value))) for value in values}
        assert {row["prompt"] for row in side} - {asked} == wanted
        assert len({row["id"] for row in side}) == len(side)


@pytest.mark.parametrize(
    "other",
    [
        adding(1, source="another"),
        adding(1, maker="log", origin="i1"),
        adding(1, maker="composed"),
        trace("Good morning!"),
        trace("Fly to Rome.", "fly_to", {"city": "Rome"}, True),
    ],
)
def test_variants_turns_talk_and_tools_that_are_gone_teach_no_maker(other: Trace) -> None:
    assert lessons([other], registry(), seed=1) == ([], [])


def test_definitions_are_learned_where_they_are_asked_for() -> None:
    learned, held = lessons([], registry(), seed=1, definitions=True)
    found = {json.loads(str(row["completion"]))["name"]: row["completion"] for row in [*learned, *held]}
    assert "shout_label" in found
    assert json.loads(str(found["shout_label"]))["parameters"] == {"label": "string", "stars": "integer"}


def test_it_makes_only_where_it_yields_more() -> None:
    def own(base: int, hits: int) -> OwnMaker:
        return OwnMaker(lessons=200, adapter=ADAPTER, base=rate(base, 48), own=rate(hits, 48))

    assert own(20, 21).makes
    assert not own(20, 20).makes
    assert not OwnMaker(lessons=3).makes


class Words:
    """A tokenizer that begins each text."""

    def apply_chat_template(self, conversation: Any, /, **options: Any) -> Any:
        raise AssertionError

    def encode(self, text: str, /, **options: Any) -> list[int]:
        return [0] * options.get("add_special_tokens", True) + [len(word) for word in text.split(" ")]


def test_a_completion_carries_the_loss_and_begins_no_text_of_its_own() -> None:
    (lesson,) = rendered(Row(id="x", prompt="Person:", completion=" Double it, please."), Words(), "")
    assert lesson.tokens == (0, 7, 0, 6, 3, 7)
    assert lesson.targets == (2, 3, 4, 5)
    assert lesson.decision is None


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Person:"},
        {"completion": " Double it."},
        {"prompt": "Person:", "completion": " Double it.", "decision": "call"},
        {"prompt": "Person:", "completion": " Double it.", "messages": [{"role": "assistant"}], "targets": [0]},
        {},
    ],
)
def test_a_row_is_a_conversation_or_a_completion(tmp_path: Path, row: dict[str, Any]) -> None:
    file = tmp_path / "train.jsonl"
    file.write_text(json.dumps({"id": "x", **row}) + "\n")
    with pytest.raises(RowInvalid, match="row x: "):
        list(read_rows(file))


def learned(folder: Path, train: Any) -> OwnMaker:
    executor = shop_tools.executor()

    def never(*_: Any) -> Any:
        raise AssertionError

    many = [adding(n) for n in range(200)]
    with Generator("http://127.0.0.1:9", model="base", concurrency=1) as base:
        return learn(MakeConfig(), many, executor, folder, seed=1, base=base, train=train, asking=never, judged=never)


def test_where_its_training_fails_the_base_model_makes(tmp_path: Path) -> None:
    def fail(lessons: Path) -> Adapter:
        assert len(list(read_rows(lessons / "train.jsonl"))) > FEWEST_LESSONS
        raise TrainError("memory", "it needs 9 GiB")

    own = learned(tmp_path, fail)
    assert not own.makes
    assert "it needs 9 GiB" in own.problem


def test_a_full_disk_ends_it(tmp_path: Path) -> None:
    def fail(lessons: Path) -> Adapter:
        raise TrainError("disk", os.strerror(errno.ENOSPC))

    with pytest.raises(TrainError):
        learned(tmp_path, fail)
