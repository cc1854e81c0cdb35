"""A crew on a cluster that has lost all its nodes."""

from typing import Any

import pytest

from evolver.crew import ray_crew
from evolver.crew.ray_crew import RayCrew
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
