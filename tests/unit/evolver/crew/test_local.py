"""A crew of threads: how many at once, in which order, and what ends it."""

import threading
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

from evolver.crew.crew import results
from evolver.crew.local import LocalCrew
from evolver.crew.workshop import Workshop
from tests.fakes import shop_tools
from tests.fakes.sandbox import InProcessSandbox
from tests.fakes.waiting import wait_until
from toolkit.execute import Executor
from toolkit.made import APPROVED, MadeCode, MadeTool

HERE: Any = "the workshop"


@dataclass(frozen=True)
class Square:
    number: int

    def do(self, workshop: Workshop) -> tuple[int, Workshop]:
        return self.number**2, workshop


@dataclass(frozen=True)
class Meet:
    """Ends when as many as the barrier counts are at work."""

    barrier: threading.Barrier

    def do(self, workshop: Workshop) -> int:
        return self.barrier.wait(timeout=60)


@dataclass(frozen=True)
class Fail:
    def do(self, workshop: Workshop) -> None:
        raise OSError("no")


def test_each_order_has_one_result_under_its_number() -> None:
    found = dict(LocalCrew(HERE, 3).each(map(Square, range(20))))
    assert found == {number: (number**2, HERE) for number in range(20)}
    assert results(LocalCrew(HERE, 2), [Square(3), Square(2), Square(3)]) == [(9, HERE), (4, HERE), (9, HERE)]
    assert results(LocalCrew(HERE, 2), []) == []


def test_as_many_are_done_at_once_as_it_says() -> None:
    assert sorted(results(LocalCrew(HERE, 4), [Meet(threading.Barrier(4))] * 4)) == [0, 1, 2, 3]
    barrier = threading.Barrier(2)
    assert sorted(results(LocalCrew(HERE, 8).limited(2), [Meet(barrier)] * 6)) == [0, 0, 0, 1, 1, 1]


def test_the_next_order_is_taken_when_somebody_is_free() -> None:
    """An order that says how much time is left must not wait for hours."""
    taken: list[int] = []

    def orders() -> Any:
        for number in range(10):
            taken.append(number)
            yield Square(number)

    with closing(LocalCrew(HERE, 2).each(orders())) as found:
        next(found)
        assert len(taken) <= 3


@dataclass(frozen=True)
class Hold:
    begun: list[int]
    go_on: threading.Event

    def do(self, workshop: Workshop) -> None:
        self.begun.append(1)
        self.go_on.wait(60)


def test_who_closes_it_waits_for_what_is_under_way_and_begins_nothing_more() -> None:
    begun: list[int] = []
    go_on = threading.Event()
    found = LocalCrew(HERE, 2).each([Square(1), *[Hold(begun, go_on)] * 5])
    next(found)
    wait_until(lambda: begun)
    closing_it = threading.Thread(target=found.close)
    closing_it.start()
    go_on.set()
    closing_it.join(60)
    assert not closing_it.is_alive()
    assert begun == [1]


def test_what_an_order_raises_is_raised() -> None:
    with pytest.raises(OSError, match="no"):
        results(LocalCrew(HERE, 2), [Square(1), Fail(), Square(2)])


def test_further_tools_are_the_crews_and_not_the_workshops() -> None:
    made = MadeTool(name="half_bill", description="Halve a bill.", parameters={"type": "object"}, source="")
    pool = MadeCode([], InProcessSandbox())
    executor = Executor(shop_tools.registry(), InProcessSandbox(), {APPROVED: pool})
    here = Workshop(executor, None, None)  # type: ignore[arg-type]
    crew = LocalCrew(here, 1)
    assert crew.with_tools([], "unapproved").here is here
    assert crew.with_tools([made], "unapproved").here.executor.registry.get("half_bill") is not None
    assert here.executor.registry.get("half_bill") is None
    with pytest.raises(ValueError, match="without rules"):
        _ = here.policy
