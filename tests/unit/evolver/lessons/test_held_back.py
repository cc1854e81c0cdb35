"""Requests that are held back from learning."""

import random
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytest

from evolver.lessons.held_back import FEWEST, FILE, choose, held_back, without
from evolver.store.jsonl import write_lines
from evolver.types import Trace, TraceKind
from tests.fakes.evolution import trace
from tests.fakes.shop_tools import add_prices, box_count, shout_label
from toolkit.describing import describe
from toolkit.registry import ToolRegistry

TOOLS = ToolRegistry(
    [describe(add_prices, source="module:shop"), describe(box_count, source="module:shop"), describe(shout_label)]
)


def adding(n: int, **changes: Any) -> Trace:
    made = trace(f"add prices {n} and 1", "add_prices", {"first": n, "second": 1}, n + 1, identity=f"a{n}")
    return made.model_copy(update=changes)


def boxes(n: int) -> Trace:
    return trace(f"boxes for {n} eggs", "box_count", {"eggs": n, "box_size": 6}, -(-n // 6), identity=f"b{n}")


def shout(n: int, **changes: Any) -> Trace:
    return trace(f"shout {n}", "shout_label", {"label": f"{n}"}, f"{n}", identity=f"s{n}").model_copy(update=changes)


def chosen(
    kept: list[Trace], before: Sequence[Trace] = (), *, share: float = 0.1, good: Collection[str] = ()
) -> list[Trace]:
    return choose(kept, before, tools=TOOLS, good=good, share=share, rng=random.Random(1))


@pytest.mark.parametrize(
    ("families", "held"), [(0, 0), (3, 0), (4, 1), (20, 5), (32, FEWEST), (80, FEWEST), (200, 20), (201, 21)]
)
def test_a_tenth_of_the_calls_of_own_tools_is_held_back_and_at_first_more(families: int, held: int) -> None:
    assert len(chosen([adding(n) for n in range(families)])) == held


def test_once_enough_are_held_back_it_is_a_tenth() -> None:
    before = [adding(n) for n in range(1000, 1000 + FEWEST)]
    assert len(chosen([adding(n) for n in range(40)], before)) == 4


def test_calls_of_built_in_tools_are_for_learning() -> None:
    assert chosen([shout(n) for n in range(50)]) == []


def test_without_a_share_nothing_is_held_back() -> None:
    assert chosen([adding(n) for n in range(50)], share=0.0) == []


def test_every_tool_has_its_part() -> None:
    found = chosen([*(adding(n) for n in range(38)), *(boxes(n) for n in range(2))], share=0.1)
    assert Counter(one.calls[0].name for one in found)["box_count"] == 2
    before = [boxes(n) for n in range(100, 104)]
    found = chosen([*(adding(n) for n in range(30)), *(boxes(n) for n in range(30))], before)
    assert Counter(one.calls[0].name for one in found) == {"add_prices": 5, "box_count": 1}


def test_turns_that_people_called_good_and_corrected_ones_count_whatever_their_tool() -> None:
    turns = [shout(n, kind=TraceKind.LOGGED).sourced(interaction_id=f"i{n}") for n in range(4)]
    assert chosen(turns) == []
    assert len(chosen(turns, good={f"i{n}" for n in range(4)})) == 1
    assert len(chosen([turn.model_copy(update={"kind": TraceKind.REPAIRED}) for turn in turns])) == 1


def test_other_wordings_variants_and_later_calls_for_the_same_are_held_back_too() -> None:
    held = adding(1)
    family = [
        held,
        adding(1, id="wording", request="1 and 1, what do these prices add up to"),
        adding(9, id="variant").sourced(derived_from="a1"),
        adding(1, id="0007/a5", request="in a later cycle"),
        adding(2, id="conversation", request="and with 2?").model_copy(
            update={"history": turn_of("add prices 1 and 1")}
        ),
    ]
    others = [adding(2), boxes(1), trace("good morning")]
    assert without([*family, *others], [held]) == others
    assert without([*family, *others], []) == [*family, *others]


def turn_of(request: str) -> Any:
    from agent.turn.messages import Message

    return (Message(role="user", content=request), Message(role="assistant", content="2"))


def test_what_cycles_held_back_is_found_again_unless_it_is_wrong_by_now(tmp_path: Path) -> None:
    write_lines(tmp_path / "cycles" / "0001" / FILE, [adding(1), adding(2)])
    write_lines(tmp_path / "cycles" / "0003" / FILE, [adding(3)])
    right = [adding(1, id="0001/a1"), adding(3, id="0003/a3"), adding(4, id="0003/a4")]
    assert held_back(tmp_path, right) == [right[0], right[1]]
