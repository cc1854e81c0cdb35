"""The benchmark of training refuses to compare trainers whose losses differ, and says whether its goals are met."""

from typing import Any

import pytest

from benchmarks.train import compared_losses, row, verdict


def _measured(before: float, after: float) -> dict[str, Any]:
    speed = {"samples_per_second": 2.0, "tokens_per_second": 100.0, "traces": 4, "linear": 5_000_000_000}
    return {**speed, "peak_mib": 10.0, "loss_before": before, "loss_after": after, "loss_traces": 2}


def test_losses_that_differ_end_the_program() -> None:
    said = compared_losses("i", [_measured(2.0, 1.0), _measured(2.01, 1.01)])
    assert said == "losses after 2 traces moved by -50.0% and differ by 1.00%"
    for other in (_measured(2.1, 1.0), _measured(2.0, 1.1), _measured(2.0, float("nan"))):
        with pytest.raises(SystemExit, match="differs"):
            compared_losses("i", [_measured(2.0, 1.0), other])


def test_a_goal_that_is_not_met_is_said() -> None:
    assert verdict("i", 4.0) == "goal 4: met"
    assert verdict("ii", 14.9) == "goal 15: NOT MET"


def test_the_share_of_the_peak_is_four_operations_per_weight_and_token() -> None:
    assert row(_measured(2.0, 1.0), 4e12).endswith("50.0%")
