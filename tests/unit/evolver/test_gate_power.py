"""The power that docs/evaluation.md states is the one that the simulation finds."""

import math
from pathlib import Path

import pytest

from benchmarks import gate_power
from evolver.statistics import sign_test

ROOT = Path(__file__).parents[3]


def test_the_page_states_what_the_simulation_finds() -> None:
    assert gate_power.table() in (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("spread", [2.0, 8.0])
def test_another_spread_of_margins_changes_the_power_little(spread: float) -> None:
    found, stated = gate_power.powers(200, 0.03, spread=spread)[0], gate_power.powers(200, 0.03)[0]
    assert found == pytest.approx(stated, abs=0.05)


@pytest.mark.parametrize("changes", [0, 4, 5, 12, 40])
def test_the_sign_test_is_the_gates(changes: int) -> None:
    fewest = gate_power._fewest(changes)
    assert fewest > changes or sign_test(fewest, changes - fewest) <= 0.05
    assert fewest == 0 or sign_test(fewest - 1, changes - fewest + 1) > 0.05


def test_the_simulated_adapters_do_as_the_measured_ones() -> None:
    middle, between = gate_power.noise(4.0)
    draw = gate_power.np.random.default_rng(0)
    requests = middle + 4.0 * draw.standard_normal((300, 1, 60))
    exact = (requests + between * draw.standard_normal((300, 7, 60)) > 0).sum(2)
    assert exact.mean() == pytest.approx(21.7, abs=0.7)
    assert math.sqrt(exact.var(1, ddof=1).mean()) == pytest.approx(1.9, abs=0.1)
