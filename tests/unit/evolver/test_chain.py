"""Two kept requests, the second about the first one's result: executed, grounded, learned step by step."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolver import checks
from evolver.chain import chain
from evolver.config import DatasetConfig
from evolver.dataset import build
from evolver.types import Composed, Trace
from tests.fakes import shop_tools
from tests.fakes.evolution import trace
from tests.fakes.sandbox import InProcessSandbox
from toolkit.errors import SandboxUnavailable
from toolkit.execute import Executor
from toolkit.sandbox import ExecResult

SUM = trace("Let 21 euros with 34 euros be the sum of my prices.", "add_prices", {"first": 21, "second": 34}, 55)
"""No reference reads well in it."""
ADD = trace("Add up the prices 21 and 34.", "add_prices", {"first": 21, "second": 34}, 55)
BOXES = trace(
    "How many boxes are filled by 12 eggs in boxes of 6?",
    "box_count",
    {"eggs": 12, "box_size": 6},
    2,
    answer="The 12 eggs fill 2 boxes.",
)
SHOUT = trace('Write a label with "green tea".', "shout_label", {"label": "green tea"}, "GREEN TEA")
KEEP = trace("Keep my receipt from Mill and 9.", "keep_receipt", {"shop": "Mill", "total": 9}, "kept Mill")


def chained(*traces: Trace, share: float = 1.0, seed: int = 1, executor: Executor | None = None) -> Composed:
    return chain(traces, share, random.Random(seed), executor or shop_tools.executor())


def all_of(*traces: Trace) -> list[Trace]:
    return [made for seed in range(30) for made in chained(*traces, seed=seed).traces]


def test_the_second_call_gets_the_first_ones_result_and_the_request_refers_to_it() -> None:
    made = [m for m in all_of(ADD, BOXES) if m.calls[0].name == "add_prices"]
    assert {m.request.split("hen ")[1] for m in made} == {
        f"how many boxes are filled by 12 eggs in boxes of {reference}?"
        for reference in ("the result", "that result", "the answer")
    }
    assert {m.request.split("hen ")[0] for m in made} == {
        "Add up the prices 21 and 34. T",
        "Add up the prices 21 and 34, t",
    }
    for m in made:
        assert m.calls == (ADD.calls[0], BOXES.calls[0].model_copy(update={"arguments": {"eggs": 12, "box_size": 55}}))
        assert m.results == (55, 1)
        assert (m.maker, m.source, m.sequential) == ("chained", ADD.id, True)


def test_the_answer_tells_the_new_result() -> None:
    made = [m for m in all_of(ADD, BOXES) if m.calls[0].name == "add_prices"]
    assert made
    assert {m.answer for m in made} == {"The 12 eggs fill 1 boxes."}


def test_quotation_marks_go_with_their_text_and_kinds_are_not_mixed() -> None:
    made = all_of(SHOUT, KEEP, ADD)
    requests = {m.request for m in made if m.calls[1].name == "shout_label"}
    assert requests
    assert not any('"' in r for r in requests)
    assert all(m.calls[0].name == "keep_receipt" for m in made if m.calls[1].name == "shout_label")


def test_where_a_reference_would_not_read_there_is_none() -> None:
    badly = trace("Use the 6 boxes for the 12 eggs.", "box_count", {"eggs": 12, "box_size": 6}, 2)
    assert chained(SUM, badly).traces == ()
    assert len(all_of(SUM, BOXES)) > 20


def test_the_new_call_is_executed_twice_and_what_fails_or_changes_is_counted() -> None:
    zero = trace("Add up the prices 5 and -5.", "add_prices", {"first": 5, "second": -5}, 0)
    found = chained(zero, BOXES)
    assert found.traces == ()
    assert found.dropped == {"call_tool_failed": 8}

    sandbox = InProcessSandbox()
    chained(ADD, BOXES, executor=Executor(shop_tools.registry(), sandbox))
    assert len(sandbox.calls) % 2 == 0
    assert len(sandbox.calls) >= 2


def test_a_broken_sandbox_is_no_verdict() -> None:
    class Broken(InProcessSandbox):
        def run(self, *_: Any, **__: Any) -> ExecResult:
            raise SandboxUnavailable("gone")

    with pytest.raises(SandboxUnavailable):
        chained(ADD, BOXES, executor=Executor(shop_tools.registry(), Broken()))


def test_people_said_is_not_chained_and_the_share_bounds_it() -> None:
    assert chained(ADD, BOXES.model_copy(update={"origin": "x"})).traces == ()
    assert chained(ADD, BOXES, share=0.0).traces == ()
    assert len(chained(ADD, BOXES, share=0.5).traces) <= 1


SINGLES = st.builds(
    lambda a, b: trace(f"Add up the prices {a} and {b}.", "add_prices", {"first": a, "second": b}, a + b),
    st.integers(2, 60),
    st.integers(61, 99),
) | st.builds(
    lambda a, b: trace(
        f"How many boxes are filled by {a} eggs in boxes of {b}?", "box_count", {"eggs": a, "box_size": b}, -(-a // b)
    ),
    st.integers(61, 99),
    st.integers(2, 60),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(SINGLES, max_size=8, unique_by=lambda t: t.id), st.integers(0, 99))
def test_whatever_is_chained_holds_what_every_lesson_holds(singles: list[Trace], seed: int) -> None:
    made = chained(*singles, seed=seed).traces
    assert len({m.id for m in made}) == len(made) <= len(singles)
    functions: dict[str, Any] = {"add_prices": shop_tools.add_prices, "box_count": shop_tools.box_count}
    for m in made:
        second = m.calls[1]
        assert m.results[0] in second.arguments.values()
        assert m.results == tuple(functions[call.name](**call.arguments) for call in m.calls)
        assert checks.grounding(m) == ""


def test_an_argument_that_no_result_gives_must_be_stated() -> None:
    (made, *_) = all_of(ADD, BOXES)
    assert checks.grounding(made) == ""
    assert checks.grounding(made.model_copy(update={"sequential": False})) == "argument_not_stated"
    other = made.calls[1].model_copy(update={"arguments": {**made.calls[1].arguments, "box_size": 77}})
    assert checks.grounding(made.model_copy(update={"calls": (made.calls[0], other)})) == "argument_not_stated"


def test_its_lesson_is_call_result_call_result_answer_with_loss_on_the_assistant(tmp_path: Path) -> None:
    config = DatasetConfig(
        composed_share=0, asking_share=0, chained_share=1, renamed_share=0, answer_share=1, validation_share=0.02
    )
    executor = shop_tools.executor()
    made = build(config, [SUM, BOXES], [], list(executor.registry), tmp_path / "d", shown=4, seed=3, executor=executor)
    rows = [json.loads(line) for line in (tmp_path / "d" / "train.jsonl").read_text().splitlines()]
    (row,) = [row for row in rows if len([m for m in row["messages"] if m.get("tool_calls")]) == 2]
    assert made.composed == {"chained": 1}
    roles = [message["role"] for message in row["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "tool", "assistant"][: len(roles)]
    assert row["targets"] == [n for n, role in enumerate(roles) if role == "assistant"]
    assert row["messages"][2]["content"] == "55"
    assert json.loads(row["messages"][3]["tool_calls"][0]["function"]["arguments"])["box_size"] == 55
    names = [tool["function"]["name"] for tool in row["tools"]]
    assert {"add_prices", "box_count"} <= set(names)


def test_a_call_that_found_nothing_is_no_part_of_a_chain() -> None:
    """Its trace has no result."""
    empty = trace("Show the note titled foxes.", "read_note", {"title": "foxes"}, None)
    empty = empty.model_copy(update={"results": ()})
    assert (
        chain([empty, empty.model_copy(update={"id": "2"})], 1.0, random.Random(1), shop_tools.executor()).traces == ()
    )
