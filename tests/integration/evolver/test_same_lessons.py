"""A cycle keeps the traces that it kept when its stages had threads of their own: tests/data/kept_traces.jsonl."""

from pathlib import Path
from typing import Any

import pytest

from evolver.config import MakeConfig, MineConfig
from evolver.cycle import stages
from tests.fakes.evolver_world import World, lines, world
from tests.fakes.stages import value_of

RECORDED = Path(__file__).parents[2] / "data" / "kept_traces.jsonl"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    with world(tmp_path, monkeypatch) as made:
        yield made


def test_the_same_seed_keeps_the_same_traces(here: World) -> None:
    """One request at a time: what this model says depends on what it was asked before."""
    make = MakeConfig(
        calls_per_tool=6, requests_per_call=2, no_tool_requests=16, self_consistency_requests=4, concurrency=1
    )
    evolver = here.config.evolver.model_copy(update={"make": make, "mine": MineConfig(uncertainty_sampling=2)})
    here.config = here.config.model_copy(update={"evolver": evolver})
    here.log("boxes for 12 eggs, six in each, please")
    report = here.run()
    recorded = lines(RECORDED)
    kept = [{key: trace[key] for key in recorded[0]} for trace in lines(value_of(report, stages.VERIFY).file)]
    assert len(recorded) == 29
    assert kept == recorded
