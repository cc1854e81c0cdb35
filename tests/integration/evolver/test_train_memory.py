"""Memory that is short outside a step: the process ends, and another goes on with smaller packs."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from agent.adapters.manifest import Manifest
from agent.adapters.package import check_adapter
from evolver.errors import TrainError
from evolver.training import sharing, supervisor
from evolver.training.launcher import Launcher
from evolver.training.model import Adapted
from evolver.training.supervisor import train
from evolver.training.team import Team
from evolver.training.worker import attempt
from tests.fakes.tiny_training import CONFIG, make_dataset, make_model

torch.set_num_threads(1)

Events = list[dict[str, Any]]
FULL = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("dataset"))


@pytest.fixture
def attempts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Events]:
    """The events of each worker that ``train`` starts; they run in this process, where memory can be made short."""
    made: list[Events] = []

    def in_this_process(launcher: Launcher, spec: dict[str, Any], *_: object) -> Manifest:
        made.append([])
        file = tmp_path / "spec.json"
        file.write_text(json.dumps(spec))
        attempt(file, made[-1].append)
        return supervisor._outcome(made[-1][-1])

    monkeypatch.setattr(supervisor, "_supervise", in_this_process)
    return made


def short_in_validation(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    original = Adapted.score

    def score(self: Adapted, pack: Any) -> Any:
        if not self.peft.training and len(pack.tokens) > most:
            raise RuntimeError(FULL)
        return original(self, pack)

    monkeypatch.setattr(Adapted, "score", score)


@pytest.mark.parametrize("patience", [0, 3], ids=["after the last step", "between steps"])
def test_validation_that_does_not_fit_is_made_with_smaller_packs(
    dataset: Path,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    attempts: list[Events],
    patience: int,
) -> None:
    short_in_validation(monkeypatch, 450)
    config = CONFIG.model_copy(update={"patience": patience})
    manifest = train(config, dataset, tiny_model, tmp_path / "adapter", name="adapter").manifest
    first, second = attempts
    assert (first[-1]["event"], first[-1]["kind"], first[-1]["final"]) == ("failed", "memory", False)
    assert [event["event"] for event in second if event["event"] in ("resumed", "out_of_memory")][-1] == "out_of_memory"
    assert check_adapter(tmp_path / "adapter") == manifest
    assert manifest.metrics.epochs_done == CONFIG.epochs
    assert manifest.metrics.loss_valid is not None
    assert manifest.environment is not None
    assert manifest.environment.halvings == 1
    assert not manifest.environment.deterministic


def test_it_is_not_tried_for_ever(
    dataset: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attempts: list[Events]
) -> None:
    short_in_validation(monkeypatch, 0)
    with pytest.raises(TrainError, match=r"\(memory\): .*can't allocate memory"):
        train(CONFIG, dataset, tiny_model, tmp_path / "adapter", name="adapter")
    assert len(attempts) == 5
    assert not (tmp_path / "adapter").exists()


def test_where_smaller_packs_change_nothing_it_is_not_tried_again(
    dataset: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attempts: list[Events]
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with monkeypatch.context() as patch:
        patch.setattr(Adapted, "score", full)
        with pytest.raises(TrainError, match=r"\(memory\): one lesson alone does not fit"):
            train(CONFIG, dataset, tiny_model, tmp_path / "adapter", name="adapter")
    for owner, name in ((Team, "place"), (sharing, "score")):  # while it is loaded, and while it is tried
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, full)
            with pytest.raises(TrainError, match=r"\(memory\): the model does not fit: CUDA out of memory"):
                train(CONFIG, dataset, tiny_model, tmp_path / name, name=name)
    assert len(attempts) == 3


def test_another_error_is_a_bug_and_not_called_memory(
    dataset: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attempts: list[Events]
) -> None:
    def wrong(*_: object) -> None:
        raise RuntimeError("The size of tensor a (3) must match the size of tensor b (4)")

    monkeypatch.setattr(Adapted, "score", wrong)
    with pytest.raises(RuntimeError, match="must match"):
        train(CONFIG, dataset, tiny_model, tmp_path / "adapter", name="adapter")
