"""Cycles with ``builtin = false``: the tools are the user's own, and nothing shipped asks for them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.adapters import active
from evolver.config import MakeConfig
from evolver.cycle import stages
from evolver.evaluation.suites import Item
from evolver.types import Call
from tests.fakes.evolver_world import ITEMS, World, lines, world
from tests.fakes.shop_tools import WORLD_TOOLS, keep_receipt
from tests.fakes.stages import value_of

SHIPPED = [
    *(item for item in ITEMS if not item.expected),
    *(
        Item(id=f"b{n}", request=f"Is {n} prime?", expected=(Call(name="is_prime", arguments={"n": n}),))
        for n in (7, 8)
    ),
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with world(tmp_path, monkeypatch, SHIPPED) as made:
        made.tools, made.source = (*WORLD_TOOLS, keep_receipt), "module:shop"
        many = MakeConfig(calls_per_tool=9, enough_per_tool=9, requests_per_call=1, no_tool_requests=8, concurrency=2)
        made.config = made.config.model_copy(update={"evolver": made.config.evolver.model_copy(update={"make": many})})
        yield made


def own_hits(here: World) -> dict[str, tuple[int, int]]:
    """Exact calls and requests of the suite ``own``, as each model was scored last."""
    with here.ledger() as ledger:
        scores = {
            one.model: one.scores["call_accuracy"] for one in reversed(ledger.evaluations()) if one.suite == "own"
        }
    return {model: (rate["hits"], rate["n"]) for model, rate in scores.items()}


def test_a_cycle_over_five_tools_of_ones_own_is_promoted_by_what_it_held_back(here: World) -> None:
    report = here.run()
    assert report.cycle.status == "promoted", report.cycle.reason
    assert active.read(here.data).name == "adapter-0001"
    held = lines(here.data / "cycles" / "0001" / "own.jsonl")
    assert 5 <= len(held) <= 8
    scored = value_of(report, stages.INCUMBENT).items
    assert [item.id for item in scored] == [item.id for item in SHIPPED if not item.expected]
    assert "on what is new +" in report.cycle.reason
    check_never_learned(here, 1, held)
    assert own_hits(here) == {"adapter-0001": (len(held), len(held)), "base": (0, len(held))}


def check_never_learned(here: World, cycle: int, held: list[dict[str, object]]) -> None:
    folder = here.data / "cycles" / f"{cycle:04d}" / "dataset"
    learned = {row["messages"][0]["content"] for side in ("train", "valid") for row in lines(folder / f"{side}.jsonl")}
    assert learned
    assert learned.isdisjoint({one["request"] for one in held})


def test_the_next_cycle_adds_to_what_is_held_back_and_learns_none_of_it(here: World) -> None:
    here.run()
    first = lines(here.data / "cycles" / "0001" / "own.jsonl")
    here.log("add 5 and 6 to prices, please", ("add_prices", {"first": 5, "second": 6}, 11))
    report = here.run()
    assert report.cycle.number == 2
    second = lines(here.data / "cycles" / "0002" / "own.jsonl")
    check_never_learned(here, 2, [*first, *second])
    assert second
    assert own_hits(here)["adapter-0001"][1] == len(first) + len(second)


def test_an_adapter_that_learned_nothing_of_them_is_rejected(here: World) -> None:
    here.learner.unskilled = {"adapter-0001"}
    report = here.run()
    assert report.cycle.status == "rejected"
    assert "failed: soft score" in report.cycle.reason
