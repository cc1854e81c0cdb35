"""Validation during training: the best weights are kept, and a run that gets no better ends."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from agent.adapters.package import WEIGHTS
from tests.fakes.tiny_training import Killed, make_dataset, make_model, row, run, write
from toolkit.file_hash import file_sha256

torch.set_num_threads(1)

SETTING = {"epochs": 12, "validate_every_epochs": 1.0, "patience": 2, "learning_rate": 0.03}


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture(scope="module")
def contradicted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Validation asks for the opposite decisions: what is learned well makes it worse."""
    folder = make_dataset(tmp_path_factory.mktemp("contradicted"))
    opposite = []
    for number in range(16):
        asked, answered = row(number, calls=number % 2 == 0), row(number, calls=number % 2 == 1)
        opposite.append({**asked, "id": f"v{number}", "messages": [asked["messages"][0], answered["messages"][1]]})
    write(folder, "valid", opposite)
    return folder


def _validations(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == "validated" and "best" in event]


def test_a_run_that_gets_no_better_stops_and_keeps_its_best_weights(
    contradicted: Path, tiny_model: Path, tmp_path: Path
) -> None:
    events: list[dict[str, Any]] = []
    states: dict[int, Path] = {}

    def keep(event: dict[str, Any]) -> None:
        events.append(event)
        if event["event"] == "checkpoint":
            (found,) = tmp_path.glob(".stopped.work/step-*/state.safetensors")
            states[event["step"]] = shutil.copy(found, tmp_path / f"{event['step']}.safetensors")

    manifest = run(contradicted, tiny_model, tmp_path / "stopped", keep, **SETTING)
    looks = _validations(events)
    best = min(looks, key=lambda event: event["loss"])
    assert manifest.metrics.stopped_early
    assert manifest.metrics.epochs_done < 12
    assert len(looks) >= 3
    assert [event["loss"] > best["loss"] for event in looks[-2:]] == [True, True]
    assert manifest.metrics.best_step == best["step"] < manifest.metrics.steps
    then, published = load_file(states[best["step"]]), load_file(tmp_path / "stopped" / WEIGHTS)
    for name, weights in published.items():
        torch.testing.assert_close(
            then[f"weight:{name.replace('.weight', '.default.weight')}"], weights, rtol=0, atol=0
        )


def test_stopping_saves_steps_and_gives_the_weights_of_going_on_to_the_end(
    contradicted: Path, tiny_model: Path, tmp_path: Path
) -> None:
    setting = {**SETTING, "epochs": 40, "learning_rate": 0.01}
    events: list[dict[str, Any]] = []
    whole = run(contradicted, tiny_model, tmp_path / "whole", events.append, **{**setting, "patience": 40}).metrics
    stopped = run(contradicted, tiny_model, tmp_path / "stopped", **{**setting, "patience": 5}).metrics
    losses = [event["loss"] for event in _validations(events)]
    assert losses[-1] > 1.1 * min(losses)
    assert stopped.steps < 0.75 * whole.steps
    assert stopped.best_step == whole.best_step
    assert file_sha256(tmp_path / "stopped" / WEIGHTS) == file_sha256(tmp_path / "whole" / WEIGHTS)


def test_a_run_that_is_cut_off_stops_at_the_same_place(contradicted: Path, tiny_model: Path, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    whole = run(contradicted, tiny_model, tmp_path / "whole", events.append, **SETTING)
    output = tmp_path / "cut"
    for stop_at in (2, whole.metrics.best_step, whole.metrics.steps):

        def killed(event: dict[str, Any], at: int | None = stop_at) -> None:
            if event["event"] == "step" and event["step"] == at:
                raise Killed

        with pytest.raises(Killed):
            run(contradicted, tiny_model, output, killed, **SETTING)
    resumed: list[dict[str, Any]] = []
    cut = run(contradicted, tiny_model, output, resumed.append, **SETTING)
    assert "resumed" in {event["event"] for event in resumed}
    assert cut.metrics.best_step == whole.metrics.best_step
    assert cut.metrics.steps == whole.metrics.steps
    assert file_sha256(output / WEIGHTS) == file_sha256(tmp_path / "whole" / WEIGHTS)


def test_a_run_that_gets_better_goes_on_to_its_end(tiny_model: Path, tmp_path: Path) -> None:
    data = make_dataset(tmp_path)
    events: list[dict[str, Any]] = []
    manifest = run(data, tiny_model, tmp_path / "whole", events.append, **{**SETTING, "epochs": 3, "patience": 2})
    assert not manifest.metrics.stopped_early
    assert manifest.metrics.epochs_done == 3
    losses = [event["loss"] for event in _validations(events)]
    assert len(losses) == 3
    assert losses[-1] == min(losses) < losses[0]
    run(data, tiny_model, tmp_path / "without", **{**SETTING, "epochs": 3, "patience": 0})
    assert file_sha256(tmp_path / "without" / WEIGHTS) == file_sha256(tmp_path / "whole" / WEIGHTS)


def test_without_validation_data_nothing_stops(contradicted: Path, tiny_model: Path, tmp_path: Path) -> None:
    write(tmp_path, "train", [row(i, calls=True) for i in range(4)])
    write(tmp_path, "valid", [])
    manifest = run(tmp_path, tiny_model, tmp_path / "adapter-0001", **{**SETTING, "epochs": 2})
    assert (manifest.metrics.loss_valid, manifest.metrics.stopped_early) == (None, False)
    assert manifest.metrics.best_step == manifest.metrics.steps
