"""Suites made of another suite's requests."""

from evolver.suites import Item, Suite
from evolver.suites.derived import derived
from evolver.types import Call
from tests.fakes import shop_tools
from toolkit.execute import Executor
from toolkit.tool import ToolCall

ADD = Call(name="add_prices", arguments={"first": 21, "second": 34})
BOXES = Call(name="box_count", arguments={"eggs": 30, "box_size": 6})
SUITE = Suite(
    name="tiny",
    sha256="0" * 64,
    items=(
        Item(id="add", request="Add the prices of 21 and 34.", expected=(ADD,)),
        Item(id="boxes", request="How many boxes are needed for 30 eggs with a box size of 6?", expected=(BOXES,)),
        Item(id="both", request="Add 21 and 34, and count the boxes of 6 for 30 eggs.", expected=(ADD, BOXES)),
        Item(id="talk", request="Good morning to you!"),
    ),
)


def values(executor: Executor, calls: tuple[Call, ...]) -> list[object]:
    return [executor.execute(ToolCall(id="t", name=call.name, arguments=call.arguments)).value for call in calls]


def test_a_value_is_left_out_and_nothing_is_to_be_called() -> None:
    found = derived(SUITE, "missing", shop_tools.executor())
    assert found.name == "tiny:missing"
    assert found.items
    originals = {item.id: item.request for item in SUITE.items[:2]}
    for item in found.items:
        origin = item.id.partition("?")[0]
        assert item.expected == ()
        assert len(item.request) < len(originals[origin])


def test_the_second_call_needs_the_first_ones_result() -> None:
    executor = shop_tools.executor()
    found = derived(SUITE, "chained", executor)
    assert found.items
    for item in found.items:
        first, second = item.expected
        assert first.name != second.name
        assert values(executor, (first,))[0] in second.arguments.values()


def test_it_is_the_same_each_time_and_another_for_another_suite() -> None:
    for kind in ("missing", "chained"):
        found = derived(SUITE, kind, shop_tools.executor())
        assert found == derived(SUITE, kind, shop_tools.executor())
        fewer = derived(SUITE.model_copy(update={"items": SUITE.items[:1]}), kind, shop_tools.executor())
        assert fewer.sha256 != found.sha256
