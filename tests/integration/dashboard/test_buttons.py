"""Buttons whose work needs the sandbox or a model server."""

from pathlib import Path

import pytest

from tests.fakes.dashboard_world import Visitor
from tests.fakes.evolver_world import ITEMS, world
from tests.fakes.waiting import wait_until


def test_a_call_shows_the_result_of_the_sandbox_or_its_error(tmp_path: Path) -> None:
    visitor = Visitor(tmp_path / "data")
    leap = '{"start_date": "2024-01-31", "end_date": "2024-03-01"}'
    assert visitor.press("/tools/call", name="days_between_dates", arguments=leap).of("result") == "30"
    refused = visitor.press("/tools/call", name="days_between_dates", arguments='{"start_date": "31st"}')
    assert "invalid arguments" in refused.of("result")
    unknown = visitor.press("/tools/call", name="days_betwen_dates", arguments="{}")
    assert unknown.status == 404
    assert "days_between_dates" in unknown.text


def test_a_measurement_ends_with_a_row_of_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with world(tmp_path, monkeypatch) as here:
        visitor = Visitor(here.data)
        visitor.press("/evals/run", suite="heldout", model="base")
        wait_until(lambda: visitor.get("/evals").of("run").endswith("done"))
        (row,) = visitor.get("/evals").rows("scores")
        needed = sum(bool(item.expected) for item in ITEMS)
        assert row[:2] == ["heldout", "base"]
        assert f"(0/{needed}, " in row[2]
