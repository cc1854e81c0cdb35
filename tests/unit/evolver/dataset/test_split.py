"""How many traces of earlier cycles are learned again."""

import random

import pytest

from evolver.config import DatasetConfig
from evolver.dataset.split import split
from evolver.types import Trace
from tests.fakes.evolution import trace


def traces(count: int, word: str) -> list[Trace]:
    return [trace(f"{word} {n} and 2", "add_prices", {"first": n, "second": 2}, n + 2) for n in range(count)]


@pytest.mark.parametrize(
    ("share", "refill", "expected"), [(0.0, 0, 0), (0.0, 3, 3), (0.5, 0, 8), (0.5, 3, 11), (0.5, 30, 20)]
)
def test_a_refill_comes_beside_the_share(share: float, refill: int, expected: int) -> None:
    config = DatasetConfig(replay_share=share)
    sides = split(config, traces(8, "new"), traces(20, "old"), random.Random(0), refill=refill)
    assert sides.replayed == expected
    old = {one.id for one in (*sides.learned, *sides.held) if one.id.startswith("old")}
    assert len(old) == expected
