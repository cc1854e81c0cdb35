"""A request without a value that its tool needs: the lesson is to ask for it, not to call."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolver.ask import ask, question
from evolver.config import DatasetConfig
from evolver.dataset import build
from evolver.text import states
from evolver.types import Composed, Trace
from tests.fakes import shop_tools
from tests.fakes.evolution import trace
from toolkit.describing import describe

TOOLS = list(shop_tools.registry())


def boxes(request: str) -> Trace:
    return trace(request, "box_count", {"eggs": 12, "box_size": 6}, 2)


def asking(*traces: Trace, share: float = 1.0, seed: int = 1) -> Composed:
    return ask(traces, TOOLS, share, random.Random(seed))


def requests(*traces: Trace) -> dict[str, str]:
    return {made.request: made.answer for seed in range(20) for made in asking(*traces, seed=seed).traces}


@pytest.mark.parametrize(
    ("request_", "left"),
    [
        ("Say how many with 12, in boxes of 6?", {"Say how many with 12, in boxes?", "Say how many, in boxes of 6?"}),
        ("Count 12 and 6.", {"Count 6.", "Count 12."}),
        ("Count boxes of '6' for 12.", {"Count boxes for 12.", "Count boxes of '6'."}),
        ("Use the 6 boxes for the 12 eggs.", set()),
        ("Boxes hold 6 eggs, count them for 12 of 12.", set()),
    ],
)  # fmt: skip
def test_a_value_is_cut_with_the_word_that_ties_it(request_: str, left: set[str]) -> None:
    assert set(requests(boxes(request_))) == left


def test_the_question_names_what_is_missing_and_always_in_the_same_words() -> None:
    found = requests(boxes("Count 12 and 6."))
    assert found == {
        "Count 6.": "Which value should I use for eggs?",
        "Count 12.": "Which value should I use for box size?",
    }
    assert question("box_size") == found["Count 12."]


def test_nothing_is_asked_for_that_the_tool_does_not_need() -> None:
    optional = trace("Write green tea with 3.", "shout_label", {"label": "green tea", "stars": 3}, "***GREEN TEA***")
    assert all(made.missing == "label" for seed in range(20) for made in asking(optional, seed=seed).traces)
    assert ask([optional], [describe(shop_tools.ring_bell)], 1.0, random.Random(0)).dropped == {"no_value_to_cut": 4}


def test_people_said_is_left_alone_and_the_share_bounds_it() -> None:
    good = boxes("Count 12 and 6.")
    assert asking(good.model_copy(update={"origin": "x"})).traces == ()
    assert asking(good, share=0.0).traces == ()
    assert len(asking(good, share=0.6).traces) == 1
    assert asking(boxes("Use the 6 boxes for the 12 eggs.")).dropped == {"cut_reads_badly": 4}


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 99),
    st.integers(100, 999),
    st.sampled_from(["Count {} and {}.", "Count boxes for {} with {}!"]),
    st.integers(0, 99),
)
def test_what_is_missing_is_gone_and_the_rest_is_there(eggs: int, size: int, words: str, seed: int) -> None:
    source = trace(words.format(eggs, size), "box_count", {"eggs": eggs, "box_size": size}, 1)
    for made in asking(source, seed=seed).traces:
        gone = source.calls[0].arguments[made.missing]
        assert not states(made.request, gone)
        assert all(states(made.request, value) for value in made.calls[0].arguments.values())
        assert made.missing not in made.calls[0].arguments
        assert (made.results, made.source) == ((), source.id)


def test_its_lesson_asks_although_the_tool_is_there(tmp_path: Path) -> None:
    config = DatasetConfig(composed_share=0, chained_share=0, asking_share=1, renamed_share=0, validation_share=0.02)
    made = build(config, [boxes("Count 12 and 6.")], [], TOOLS, tmp_path / "d", shown=3, seed=1)
    rows = [json.loads(line) for line in (tmp_path / "d" / "train.jsonl").read_text().splitlines()]
    (row,) = [row for row in rows if row["messages"][1]["content"].startswith("Which value")]
    assert made.composed == {"asking": 1}
    assert made.calls == 1
    assert (row["targets"], row["decision"], len(row["messages"])) == ([1], None, 2)
    assert "box_count" in [tool["function"]["name"] for tool in row["tools"]]
