"""Scores: calls are judged by what they return; rates come with honest intervals."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.turn.messages import Message, Trajectory
from evolver.evaluation.evaluate import expected_results, report, score
from evolver.evaluation.suites import Item
from evolver.scores import ItemScore
from evolver.statistics import rate
from evolver.types import Call
from tests.fakes.evolution import turn
from tests.fakes.judged_calls import ADD, BOXES, RAN_ADD, RAN_BOXES, SUITE, judged
from tests.fakes.sandbox import InProcessSandbox
from toolkit.declare import tool
from toolkit.describing import describe
from toolkit.execute import Executor
from toolkit.registry import ToolRegistry
from toolkit.tool import ToolErrorKind


@pytest.mark.parametrize(
    ("logged", "exact", "right_tool"),
    [
        (turn("r", RAN_ADD), True, True),
        (turn("r", ("add_prices", {"first": 3, "second": 2}, 5)), True, True),
        (turn("r", RAN_ADD, RAN_ADD), True, True),
        (turn("r", ("add_prices", {"first": 2, "second": 4}, 6)), False, True),
        (turn("r", RAN_ADD, ("add_prices", {"first": 2, "second": 4}, 6)), False, False),
        (turn("r", ("box_count", {"eggs": 5, "box_size": 1}, 5)), False, False),
        (turn("r", ("add_prices", {}, ToolErrorKind.INVALID_ARGUMENTS)), False, True),
        (turn("r", ("add_prices", {}, ToolErrorKind.INVALID_ARGUMENTS), RAN_ADD), False, False),
        (turn("r", answer="It is 5."), False, False),
    ],
)
def test_one_expected_call(logged: Trajectory, exact: bool, right_tool: bool) -> None:
    found = judged(logged, ADD)
    assert (found.exact, found.right_tool, found.needs_tool) == (exact, right_tool, True)


@pytest.mark.parametrize(
    ("logged", "exact"),
    [
        (turn("r", RAN_ADD, RAN_BOXES), True),
        (turn("r", RAN_BOXES, RAN_ADD), True),
        (turn("r", RAN_BOXES), False),
    ],
)
def test_several_expected_calls_in_any_order(logged: Trajectory, exact: bool) -> None:
    assert judged(logged, ADD, BOXES).exact is exact


@tool(effect="reads")
def spin_wheel(slots: int) -> float:
    """Spin the wheel at the fair."""
    return time.monotonic()


def test_a_tool_that_reads_what_changes_is_judged_by_its_arguments() -> None:
    executor = Executor(ToolRegistry([describe(spin_wheel)]), InProcessSandbox())
    item = Item(id="i", request="r", expected=(Call(name="spin_wheel", arguments={"slots": 8}),))
    right, wrong = (turn("r", ("spin_wheel", {"slots": slots}, 99.5)) for slots in (8, 9))
    failed = turn("r", ("spin_wheel", {"slots": 8}, ToolErrorKind.TIMEOUT))
    assert [score(item, logged, executor).exact for logged in (right, wrong, failed)] == [True, False, False]


def test_a_request_that_needs_no_tool() -> None:
    silent, calling = judged(turn("r")), judged(turn("r", RAN_ADD))
    assert (silent.needs_tool, silent.called, silent.exact, silent.right_tool) == (False, False, False, False)
    assert calling.called
    assert not calling.exact


@pytest.mark.parametrize(
    ("kind", "invalid"),
    [
        (ToolErrorKind.MALFORMED_CALL, True),
        (ToolErrorKind.INVALID_ARGUMENTS, True),
        (ToolErrorKind.UNKNOWN_TOOL, True),
        (ToolErrorKind.TOOL_FAILED, False),
        (ToolErrorKind.TIMEOUT, False),
    ],
)
def test_what_counts_as_an_invalid_call(kind: ToolErrorKind, invalid: bool) -> None:
    assert judged(turn("r", ("add_prices", {}, kind)), ADD).invalid_call is invalid


def test_what_the_model_did_is_kept_in_short() -> None:
    assert judged(turn("r", RAN_ADD), ADD).seen == 'add_prices {"first": 2, "second": 3}'
    assert judged(turn("r", answer="x" * 9999)).seen == "x" * 300
    assert judged(turn("r", stop_reason="failed", answer="")).failed


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 5000), st.data())
def test_the_interval_is_wilsons(n: int, data: st.DataObject) -> None:
    """Both ends solve Wilson's equation (p - share)^2 = z^2 p (1 - p) / n."""
    hits = data.draw(st.integers(0, n))
    found = rate(hits, n)
    share = hits / n
    assert found.value == share
    assert 0 <= found.low <= share + 1e-12
    assert share - 1e-12 <= found.high <= 1
    for end in (found.low, found.high):
        assert (end - share) ** 2 == pytest.approx(1.959963984540054**2 * end * (1 - end) / n, abs=1e-12)
    assert rate(n - hits, n).low == pytest.approx(1 - found.high)


def test_the_interval_of_nothing_says_nothing() -> None:
    found = rate(0, 0)
    assert (found.low, found.high, found.value) == (0, 1, 0)


def test_each_rate_is_over_its_own_requests() -> None:
    def item(identity: str, **changes: bool) -> ItemScore:
        flags = {
            "needs_tool": True,
            "exact": False,
            "right_tool": False,
            "called": True,
            "invalid_call": False,
            **changes,
        }
        return ItemScore(id=identity, **flags)

    items = [
        item("a", exact=True, right_tool=True),
        item("b", right_tool=True, invalid_call=True),
        item("c", called=False, failed=True),
        item("d", needs_tool=False, called=False),
        item("e", needs_tool=False),
    ]
    found = report(SUITE, "m", items)
    assert (found.call_accuracy.hits, found.call_accuracy.n) == (1, 3)
    assert (found.tool_selection_accuracy.hits, found.tool_selection_accuracy.n) == (2, 3)
    assert (found.irrelevance_accuracy.hits, found.irrelevance_accuracy.n) == (1, 2)
    assert ((found.invalid_call_rate.hits, found.invalid_call_rate.n), found.failed) == ((1, 5), 1)


def test_ordered_calls_share_a_workspace_and_count_in_their_order() -> None:
    executor = Executor(ToolRegistry([describe(drop_coin), describe(count_coins)]), InProcessSandbox())
    drop, count = Call(name="drop_coin", arguments={"worth": 5}), Call(name="count_coins", arguments={})
    item = Item(id="i", request="r", expected=(drop, count), ordered=True)
    assert [result.value for result in expected_results(item, executor)] == ["dropped", 1]
    apart = item.model_copy(update={"ordered": False})
    assert [result.value for result in expected_results(apart, executor)] == ["dropped", 0]
    made = [("drop_coin", {"worth": 5}, "dropped"), ("count_coins", {}, 1)]
    assert score(item, turn("r", *made), executor).exact
    assert not score(item, turn("r", *made[::-1]), executor).exact


@tool(effect="writes", sandbox_state=True)
def drop_coin(worth: int) -> str:
    """Drop a coin into the box."""
    with Path("coins.txt").open("a") as file:
        file.write(f"{worth}\n")
    return "dropped"


@tool(effect="writes", sandbox_state=True)
def count_coins() -> int:
    """Count the coins in the box."""
    return len(Path("coins.txt").read_text().splitlines()) if Path("coins.txt").exists() else 0


def test_messages_without_results_are_judged_too() -> None:
    cut = turn("r", RAN_ADD, answer="")
    cut = cut.model_copy(update={"messages": (*cut.messages, Message(role="assistant", content=""))})
    assert judged(cut, ADD).exact
