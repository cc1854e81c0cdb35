"""Losses of training, as TensorBoard reads them."""

from pathlib import Path
from typing import Any

import pytest

from evolver.cycle import curves
from evolver.errors import StageError
from toolkit.errors import PrerequisiteError

EVENTS: list[dict[str, Any]] = [
    {"event": "start", "steps": 2},
    {"event": "step", "step": 1, "loss": 2.5, "tokens_per_second": 800.0},
    {"event": "validated", "step": 1, "loss": 2.25, "best": 2.25},
    {"event": "step", "step": 2, "loss": 1.5},
    {"event": "checkpoint", "step": 2},
]


def drawn(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder))
    read.Reload()
    return {
        tag: [(event.step, event.tensor_proto.float_val[0]) for event in read.Tensors(tag)]
        for tag in read.Tags()["tensors"]
    }


def test_tensorboard_reads_the_curves_of_a_cycle(tmp_path: Path) -> None:
    with curves.curves(tmp_path, 7, wanted=True) as draw:
        for event in EVENTS:
            draw(event)
        assert drawn(tmp_path / "tensorboard" / "cycle-0007")["loss/training"] == [(1, 2.5), (2, 1.5)]
    assert drawn(tmp_path / "tensorboard" / "cycle-0007") == {
        "loss/training": [(1, 2.5), (2, 1.5)],
        "loss/validation": [(1, 2.25)],
        "tokens_per_second": [(1, 800.0)],
    }


def test_a_training_that_fails_leaves_its_curves(tmp_path: Path) -> None:
    with pytest.raises(StageError), curves.curves(tmp_path, 1, wanted=True) as draw:
        draw(EVENTS[1])
        raise StageError("the training process ended")
    assert drawn(tmp_path / "tensorboard" / "cycle-0001")["loss/training"] == [(1, 2.5)]


def test_nothing_is_drawn_where_nobody_wants_it(tmp_path: Path) -> None:
    with curves.curves(tmp_path, 1, wanted=False) as draw:
        draw(EVENTS[1])
    assert list(tmp_path.iterdir()) == []


def test_without_the_package_it_is_one_line_before_a_cycle_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "find_spec", lambda _: None)
    curves.check(False)
    with pytest.raises(PrerequisiteError, match=r"pip install 'apprentice-agent\[tensorboard\]'"):
        curves.check(True)
