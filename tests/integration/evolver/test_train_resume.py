"""A training that is killed, at any moment, ends as an undisturbed one; what it left half done hinders nobody."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from agent.adapters.manifest import Manifest
from agent.adapters.package import WEIGHTS, check_adapter, publish
from evolver.errors import TrainError
from evolver.training import checkpoint, publication, supervisor
from evolver.training.supervisor import train
from tests.fakes.tiny_training import CONFIG, Killed, make_dataset, make_model, row, run, write
from toolkit import durable_file
from toolkit.file_hash import file_sha256

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="module")
def undisturbed(dataset: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The hash of the weights."""
    output = tmp_path_factory.mktemp("undisturbed") / "adapter"
    run(dataset, tiny_model, output)
    return file_sha256(output / WEIGHTS)


def killed_at(step: int) -> Callable[[dict[str, Any]], None]:
    """Right after the checkpoint of ``step``."""

    def emit(event: dict[str, Any]) -> None:
        if event == {"event": "checkpoint", "step": step}:
            raise Killed

    return emit


def killed_in_its_second_save(monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    moments = ["state", "tensors", "draft", "renamed"]
    save_file, flush, calls = checkpoint.save_file, durable_file.flush, {"save": 0, "flush": 0}

    def saving(tensors: Any, path: Path) -> None:
        save_file(tensors, path)
        calls["save"] += 1
        if moment == "half a file" and calls["save"] == 2:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            raise Killed

    def flushing(path: Path) -> None:
        if moment != "half a file" and calls["flush"] == len(moments) + moments.index(moment):
            raise Killed
        calls["flush"] += 1
        flush(path)

    monkeypatch.setattr(checkpoint, "save_file", saving)
    monkeypatch.setattr(durable_file, "flush", flushing)


@pytest.mark.parametrize(
    ("moment", "goes_on_at"), [("half a file", 1), ("tensors", 1), ("state", 1), ("draft", 1), ("renamed", 2)]
)
def test_killed_inside_a_checkpoint_it_ends_like_an_undisturbed_run(
    dataset: Path,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    undisturbed: str,
    moment: str,
    goes_on_at: int,
) -> None:
    output = tmp_path / "adapter"
    with monkeypatch.context() as patch:
        killed_in_its_second_save(patch, moment)
        with pytest.raises(Killed):
            run(dataset, tiny_model, output)
    events: list[dict[str, Any]] = []
    run(dataset, tiny_model, output, events.append)
    assert {"event": "resumed", "step": goes_on_at} in events
    assert file_sha256(output / WEIGHTS) == undisturbed
    assert [entry.name for entry in tmp_path.iterdir()] == ["adapter"]


@pytest.mark.parametrize("file", [checkpoint.STATE, checkpoint.TENSORS])
@pytest.mark.parametrize("damage", ["half", "empty", "gone", "another format"])
def test_a_torn_checkpoint_is_passed_over(tmp_path: Path, file: str, damage: str) -> None:
    kept = tmp_path / "step-00000001"
    checkpoint.save(tmp_path, 1, "same", {"step": 1}, {"a": torch.ones(3)})
    shutil.copytree(kept, tmp_path / "copy")
    checkpoint.save(tmp_path, 2, "same", {"step": 2}, {"a": torch.ones(3)})
    checkpoint.save(tmp_path / "elsewhere", 1, "same", {"step": 1}, {"a": torch.ones(3)})
    shutil.move(tmp_path / "elsewhere" / kept.name, kept)
    assert checkpoint.latest(tmp_path, "other") is None
    for path, older in ((tmp_path / "step-00000002", 1), (kept, None)):
        torn = path / file
        assert torn.exists()
        data = torn.read_bytes()
        damages = {"half": data[: len(data) // 2], "empty": b"", "another format": b"[1, 2]"}
        torn.unlink() if damage == "gone" else torn.write_bytes(damages[damage])
        found = checkpoint.latest(tmp_path, "same")
        assert (None if found is None else found[0]["step"]) == older


def test_a_run_whose_only_checkpoint_is_torn_begins_anew(
    dataset: Path, tiny_model: Path, tmp_path: Path, undisturbed: str
) -> None:
    output = tmp_path / "adapter"
    with pytest.raises(Killed):
        run(dataset, tiny_model, output, killed_at(2))
    (state,) = tmp_path.glob(f".adapter.work/step-*/{checkpoint.STATE}")
    state.write_bytes(state.read_bytes()[:100])
    events: list[dict[str, Any]] = []
    run(dataset, tiny_model, output, events.append)
    assert "resumed" not in {event["event"] for event in events}
    assert file_sha256(output / WEIGHTS) == undisturbed


def new_format(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(checkpoint, "FORMAT", checkpoint.FORMAT + 1)


def other_threads(_: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(2)


@pytest.mark.parametrize("change", [new_format, other_threads])
def test_a_checkpoint_that_would_go_on_otherwise_is_not_used(
    dataset: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    """``threads = 0`` is as many as there are: on another machine, others."""
    output = tmp_path / "adapter"
    with pytest.raises(Killed):
        run(dataset, tiny_model, output, killed_at(2), threads=0)
    events: list[dict[str, Any]] = []
    change(monkeypatch)
    try:
        run(dataset, tiny_model, output, events.append, threads=0)
    finally:
        torch.set_num_threads(1)
    assert "resumed" not in {event["event"] for event in events}


def test_the_time_before_a_kill_counts(dataset: Path, tiny_model: Path, tmp_path: Path) -> None:
    output = tmp_path / "adapter"
    with pytest.raises(Killed):
        run(dataset, tiny_model, output, killed_at(2))
    (file,) = tmp_path.glob(f".adapter.work/step-*/{checkpoint.STATE}")
    state = json.loads(file.read_text())
    assert state["wall_seconds"] > state["seconds"] > 0
    file.write_text(json.dumps(state | {"wall_seconds": 5000.0}))
    with pytest.raises(Killed):
        run(dataset, tiny_model, output, killed_at(4))
    manifest = run(dataset, tiny_model, output)
    assert manifest.wall_seconds > 5000


def publish_and_die(draft: Path, target: Path, manifest: Manifest) -> None:
    publish(draft, target, manifest)
    raise Killed


def test_killed_after_publishing_the_adapter_is_not_trained_again(
    dataset: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: str
) -> None:
    output = tmp_path / "adapter"
    with monkeypatch.context() as patch:
        patch.setattr(publication, "publish", publish_and_die)
        with pytest.raises(Killed):
            run(dataset, tiny_model, output)
    assert (tmp_path / ".adapter.work").exists()
    events: list[dict[str, Any]] = []
    result = train(CONFIG, dataset, tiny_model, output, name="adapter", on_progress=events.append)
    assert events == []
    assert result.manifest == check_adapter(output)
    assert file_sha256(output / WEIGHTS) == undisturbed
    assert [entry.name for entry in tmp_path.iterdir()] == ["adapter"]


def test_a_process_that_published_and_died_has_done_its_work(
    dataset: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "adapter"

    def killed_too_late(*_: object) -> Manifest:
        run(dataset, tiny_model, output)
        raise TrainError("killed", "the training process was killed")

    monkeypatch.setattr(supervisor, "_supervise", killed_too_late)
    assert train(CONFIG, dataset, tiny_model, output, name="adapter").manifest == check_adapter(output)


def test_an_adapter_of_other_inputs_is_neither_returned_nor_replaced(
    dataset: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, parent, other = tmp_path / "adapter", tmp_path / "parent", tmp_path / "other"
    manifest = run(dataset, tiny_model, output)
    run(dataset, tiny_model, parent)
    shutil.copytree(dataset, other)
    write(other, "train", [row(1, calls=True)])
    faster = CONFIG.model_copy(update={"learning_rate": 0.01})
    monkeypatch.setattr(supervisor, "_supervise", lambda *_: pytest.fail("it was trained"))
    with pytest.raises(TrainError, match="adapter exists, of other hyper_parameters; an adapter is never replaced"):
        train(faster, dataset, tiny_model, output, name="adapter")
    with pytest.raises(TrainError, match="of other dataset_sha256"):
        train(CONFIG, other, tiny_model, output, name="adapter")
    with pytest.raises(TrainError, match="of other parent_sha256"):
        train(CONFIG, dataset, tiny_model, output, name="adapter", parent=parent)
    with pytest.raises(TrainError, match="another base model"):
        train(CONFIG, dataset, make_model(tmp_path / "model", attention_bias=True), output, name="adapter")
    assert train(CONFIG, dataset, tiny_model, output, name="adapter").manifest == manifest
    (output / WEIGHTS).write_bytes(b"")
    with pytest.raises(TrainError, match="an adapter is never replaced"):
        train(CONFIG, dataset, tiny_model, output, name="adapter")
