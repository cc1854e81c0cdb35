"""Functions of the standard library in the benchmark of continual learning: in turn, for learning only."""

from pathlib import Path

from benchmarks.continual import Run
from benchmarks.continual_batches import Batch, Plan
from benchmarks.continual_round import Setup
from benchmarks.continual_runs import RUNS, STANDARD_LIBRARY
from toolkit.inspecting import PURE

ROOT = Path(__file__).parents[3]


def test_each_cycle_learns_another_group_and_no_score_has_one(tmp_path: Path) -> None:
    batch = Batch(number=1, modules=("toolkit.builtin.contacts",), tools=("add_contact",), scored=(), unlabelled=())
    setup = Setup(batches=1, cycles=2)
    run = Run("standard-library", tmp_path, ROOT / "config.toml", setup, Plan(batches=(batch,), silent=(), gate=()))
    learned = [run._configured(cycle, learning=True)[1].toolkit.tools for cycle in (1, 2, 7)]
    assert [tools.python_modules for tools in learned] == [STANDARD_LIBRARY[n] for n in (1, 2, 1)]
    assert {tools.modules for tools in learned} == {batch.modules}
    assert run._configured(1)[1].toolkit.tools.python_modules == ()
    assert {name for name, one in RUNS.items() if one.modules} == {"standard-library"}


def test_the_modules_are_pure_and_each_has_its_turn_once() -> None:
    modules = [module for group in STANDARD_LIBRARY for module in group]
    assert set(modules) <= PURE
    assert len(modules) == len(set(modules)) == 12
