"""A crew on a cluster that has lost all its nodes."""

from typing import Any

import pytest

from evolver.crew import ray_crew
from evolver.crew.ray_crew import RayCrew
from evolver.crew.ray_nodes import Place, lines_of
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


def test_an_error_says_on_which_node_it_was() -> None:
    place = Place("node", "10.0.0.6", None, None)
    assert str(ray_crew._from(place, UserError("the disk is full"))) == "node 10.0.0.6: the disk is full"
    assert ray_crew._from(place, OSError(28, "No space")).__notes__ == ["It happened on node 10.0.0.6."]


def test_an_error_without_words_is_named_by_its_kind() -> None:
    assert lines_of(StageError(" ")) == ["StageError(' ')"]
    assert lines_of(StageError("one\ntwo")) == ["one", "two"]
