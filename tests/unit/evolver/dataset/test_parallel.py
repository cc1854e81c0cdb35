"""Two kept requests in one."""

import random

from evolver.dataset.parallel import compose
from evolver.types import Trace
from tests.fakes import shop_tools
from tests.fakes.evolution import trace
from tests.fakes.stages import policy

ADD = trace("Add 21 and 34.", "add_prices", {"first": 21, "second": 34}, 55)
HEAVY = trace("I need the heaviest of 4 and 9!", "heaviest_parcel", {"weights": [4, 9]}, 9)
TALK = trace("Tell me about foxes, please.")


def composed(*traces: Trace, share: float = 1.0, seed: int = 1) -> list[Trace]:
    judged = compose(traces, share, policy(shop_tools.registry()), random.Random(seed))
    return [one.trace for one in judged if one.verdict.kept]


def test_both_requests_and_both_calls_are_there_in_the_same_order() -> None:
    forms = {made.request for seed in range(30) for made in composed(ADD, HEAVY, seed=seed)}
    assert forms == {
        "Add 21 and 34. I need the heaviest of 4 and 9!",
        "Add 21 and 34, and I need the heaviest of 4 and 9!",
        "Add 21 and 34 and I need the heaviest of 4 and 9!",
        "I need the heaviest of 4 and 9! Add 21 and 34.",
        "I need the heaviest of 4 and 9, and add 21 and 34.",
        "I need the heaviest of 4 and 9 and add 21 and 34.",
    }
    for made in composed(ADD, HEAVY):
        first, second = (ADD, HEAVY) if made.request.startswith("Add") else (HEAVY, ADD)
        assert made.calls == (*first.calls, *second.calls)
        assert made.results == (*first.results, *second.results)
        assert (made.kind, made.provenance.derived_from) == ("parallel", first.id)


def test_nobody_asks_for_the_same_twice() -> None:
    again = ADD.model_copy(update={"id": "again", "request": "What is 21 plus 34?"})
    assert composed(ADD, again) == []


def test_as_many_as_asked_for_and_only_of_single_calls() -> None:
    assert len(composed(ADD, HEAVY, share=0.5)) == 1
    assert composed(ADD, TALK) == []
    assert composed(ADD, HEAVY, share=0.0) == []


def test_no_pair_comes_twice() -> None:
    ids = [made.id for seed in range(20) for made in composed(ADD, HEAVY, seed=seed)]
    assert len(ids) > 20
    assert all(
        len({m.id for m in composed(ADD, HEAVY, seed=s)}) == len(composed(ADD, HEAVY, seed=s)) for s in range(20)
    )
