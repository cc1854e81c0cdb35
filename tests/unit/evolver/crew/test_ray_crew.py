"""A crew on a cluster that has lost all its nodes."""

from typing import Any

import pytest

from agent.cluster.connection import lines_of
from evolver.crew import ray_crew
from evolver.crew.ray_crew import RayCrew
from evolver.crew.ray_nodes import Place
from evolver.errors import StageError
from toolkit.errors import UserError


class NoNodes:
    """Those of a cluster on which nothing is left."""

    open_ones: tuple[Any, ...] = ()

    def look(self) -> None:
        pass


def test_without_any_node_the_stage_is_given_up_and_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_crew, "_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(ray_crew, "_PATIENCE_SECONDS", 0.01)
    here: Any = "the workshop"
    nodes: Any = NoNodes()
    with pytest.raises(UserError, match="no node of the cluster is left; start one, then go on with: evolver cycle"):
        dict(RayCrew(here, 2, nodes, lambda *_: None).each([here]))


def test_a_stage_with_nothing_left_needs_no_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_crew, "_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(ray_crew, "_PATIENCE_SECONDS", 0.01)
    here: Any = "the workshop"
    nodes: Any = NoNodes()
    assert dict(RayCrew(here, 2, nodes, lambda *_: None).each([])) == {}


def test_an_order_taken_while_no_node_was_there_is_given_to_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    here: Any = "the workshop"
    nodes: Any = NoNodes()
    begun: list[tuple[int, Any]] = []
    monkeypatch.setattr(ray_crew._Work, "_begin", lambda work, number, order, place: begun.append((number, order)))
    work = ray_crew._Work(RayCrew(here, 3, nodes, lambda *_: None), iter("ab"))  # type: ignore[arg-type]
    assert work.give()
    assert work.give()
    assert begun == []
    nodes.open_ones = (Place("node", "10.0.0.6", None, None),)
    work.give()
    assert begun == [(0, "a"), (1, "b")]


class TwoNodes(NoNodes):
    """Two nodes, and what is said of them."""

    def __init__(self) -> None:
        self.open_ones = (Place("one", "10.0.0.6", None, None), Place("two", "10.0.0.7", None, None))
        self.blamed: list[tuple[str, str]] = []

    def blame(self, place: Place, problem: str) -> None:
        self.blamed.append((place.node, problem))


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """Number of each order that was begun, and its node; none ends by itself."""
    found: list[tuple[int, str]] = []

    def begin(work: ray_crew._Work, number: int, order: Any, place: Place) -> None:
        found.append((number, place.node))
        work._running[object()] = number, order, place
        place.running += 1

    monkeypatch.setattr(ray_crew._Work, "_begin", begin)
    return found


def fail(work: ray_crew._Work, number: int, error: Exception) -> None:
    """Let the order ``number`` raise where it is under way."""
    reference, (_, order, place) = next((key, one) for key, one in work._running.items() if one[0] == number)
    del work._running[reference]
    place.running -= 1
    work._failed(number, order, place, error)


def work_on(nodes: Any, orders: str) -> ray_crew._Work:
    here: Any = "the workshop"
    return ray_crew._Work(RayCrew(here, 1, nodes, lambda *_: None), iter(orders))  # type: ignore[arg-type]


def test_an_order_that_raises_is_tried_once_on_another_node(begun: list[tuple[int, str]]) -> None:
    nodes = TwoNodes()
    work = work_on(nodes, "ab")
    assert work.give()
    assert begun == [(0, "one"), (1, "two")]
    fail(work, 0, OSError("the disk is full"))
    assert nodes.blamed == [("one", "the disk is full")]
    assert work.give()  # the other node is at work, and the free one has raised
    assert begun[2:] == []
    nodes.open_ones[1].running = 0
    work._running.clear()
    assert work.give()
    assert begun[2:] == [(0, "two")]
    with pytest.raises(OSError, match=r"node 10\.0\.0\.7: the disk is full"):
        fail(work, 0, OSError("the disk is full"))


def test_an_order_that_raises_on_the_only_node_ends_the_stage(begun: list[tuple[int, str]]) -> None:
    nodes = TwoNodes()
    nodes.open_ones = nodes.open_ones[:1]
    work = work_on(nodes, "a")
    work.give()
    with pytest.raises(UserError, match=r"node 10\.0\.0\.6: no model"):
        fail(work, 0, UserError("no model"))
    assert nodes.blamed == []


def test_an_order_whose_other_node_went_away_raises_what_it_raised(begun: list[tuple[int, str]]) -> None:
    nodes = TwoNodes()
    work = work_on(nodes, "a")
    work.give()
    fail(work, 0, UserError("no model"))
    nodes.open_ones = nodes.open_ones[:1]
    with pytest.raises(UserError, match=r"node 10\.0\.0\.6: no model"):
        work.give()


def test_an_error_says_on_which_node_it_was() -> None:
    place = Place("node", "10.0.0.6", None, None)
    assert str(ray_crew._from(place, UserError("the disk is full"))) == "node 10.0.0.6: the disk is full"
    assert ray_crew._from(place, OSError(28, "No space")).__notes__ == ["It happened on node 10.0.0.6."]


def test_an_error_without_words_is_named_by_its_kind() -> None:
    assert lines_of(StageError(" ")) == ["StageError(' ')"]
    assert lines_of(StageError("one\ntwo")) == ["one", "two"]
