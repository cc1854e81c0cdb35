"""Training a tiny model from a dataset folder to an adapter folder, with what can go wrong on the way."""

import os
import resource
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from agent.adapters.package import WEIGHTS, check_adapter, manifest_sha256, model_sha256
from evolver.errors import TrainError
from evolver.store.dataset_files import folder_sha256
from evolver.training.render import RowInvalid
from evolver.training.supervisor import train
from tests.fakes.tiny_training import CONFIG, Killed, make_dataset, make_model, row, run, write
from toolkit.file_hash import file_sha256

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("dataset"))


def test_adapter_learns_and_loads_in_peft(dataset: Path, tiny_model: Path, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    output = tmp_path / "adapter-0001"
    manifest = run(dataset, tiny_model, output, events.append, epochs=6)
    assert check_adapter(output, base_sha256=model_sha256(tiny_model)) == manifest
    assert manifest.metrics.loss_last < manifest.metrics.loss_first - 0.5
    assert manifest.metrics.tokens_saved > manifest.metrics.tokens_computed
    assert manifest.metrics.epochs_done == 6
    assert manifest.dataset_sha256 == folder_sha256(dataset)
    assert manifest.seed == CONFIG.seed
    assert manifest.environment is not None
    assert (manifest.environment.device, manifest.environment.threads, manifest.environment.processes) == ("cpu", 1, 1)
    assert manifest.environment.deterministic
    assert manifest.environment.unshared is None
    assert manifest.calibration is not None
    assert (manifest.calibration.n_call, manifest.calibration.n_no_call) == (8, 8)
    steps = [event for event in events if event["event"] == "step"]
    assert [event["step"] for event in steps] == list(range(1, manifest.metrics.steps + 1))
    assert steps[-1].keys() == {
        "event", "step", "steps", "loss", "tokens_per_second", "saved_ratio", "eta_seconds"
    }  # fmt: skip
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    ids = torch.tensor([[1, 2, 3]])
    before = base(ids).logits
    after = PeftModel.from_pretrained(base, str(output))(ids).logits
    assert not torch.allclose(before, after)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["adapter-0001"], "work folders are gone"


def test_the_bias_is_fitted_on_the_best_candidate_of_each_request(tiny_model: Path, tmp_path: Path) -> None:
    folder = make_dataset(tmp_path)
    asked = [(row(i, calls=i % 2 == 0), points) for i in range(50, 70) for points in (0.0, 1000.0)]
    write(folder, "choice", [one | {"candidate": [one["id"], points]} for one, points in asked])
    manifest = run(folder, tiny_model, tmp_path / "adapter-0001")
    assert manifest.calibration is not None
    assert (manifest.calibration.n_call, manifest.calibration.n_no_call) == (10, 10)


def test_same_seed_same_bytes_and_a_cut_off_run_ends_like_an_undisturbed_one(
    dataset: Path, tiny_model: Path, tmp_path: Path
) -> None:
    run(dataset, tiny_model, tmp_path / "whole")
    output = tmp_path / "cut"
    for stop_at in (2, 3, 5):

        def killed(event: dict[str, Any], at: int = stop_at) -> None:
            if event["event"] == "step" and event["step"] == at:
                raise Killed

        with pytest.raises(Killed):
            run(dataset, tiny_model, output, killed)
        assert not output.exists()
    events: list[dict[str, Any]] = []
    run(dataset, tiny_model, output, events.append)
    assert {"event": "resumed", "step": 4} in events
    assert file_sha256(output / WEIGHTS) == file_sha256(tmp_path / "whole" / WEIGHTS)


def test_a_plan_cut_by_the_clock_is_not_called_deterministic(dataset: Path, tiny_model: Path, tmp_path: Path) -> None:
    manifest = run(dataset, tiny_model, tmp_path / "cut", epochs=20, max_minutes=0.0001)
    assert manifest.metrics.epochs_done < 20
    assert manifest.environment is not None
    assert not manifest.environment.deterministic


def test_a_child_continues_its_parent(dataset: Path, tiny_model: Path, tmp_path: Path) -> None:
    parent, child = tmp_path / "adapter-0001", tmp_path / "adapter-0002"
    first = run(dataset, tiny_model, parent, epochs=6)
    second = run(dataset, tiny_model, child, parent=parent, epochs=1)
    assert second.parent == "adapter-0001"
    assert second.parent_sha256 == manifest_sha256(parent)
    assert second.metrics.loss_first < first.metrics.loss_first - 0.5
    assert check_adapter(parent) == first, "the parent is never edited"


def test_a_child_of_another_shape_is_refused(dataset: Path, tiny_model: Path, tmp_path: Path) -> None:
    parent = tmp_path / "adapter-0001"
    run(dataset, tiny_model, parent, epochs=1)
    with pytest.raises(TrainError, match=r"adapter-0001 has rank 8, \[evolver.train\] rank is 16; set it so"):
        run(dataset, tiny_model, tmp_path / "adapter-0002", parent=parent, rank=16)


def test_changed_inputs_do_not_continue_an_old_run(dataset: Path, tiny_model: Path, tmp_path: Path) -> None:
    output = tmp_path / "adapter-0001"

    def killed(event: dict[str, Any]) -> None:
        if event["event"] == "checkpoint":
            raise Killed

    with pytest.raises(Killed):
        run(dataset, tiny_model, output, killed)
    events: list[dict[str, Any]] = []
    run(dataset, tiny_model, output, events.append, learning_rate=0.01)
    assert "resumed" not in {event["event"] for event in events}


def test_lack_of_memory_halves_the_packs_and_goes_on(
    dataset: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evolver.training.model import Adapted

    original = Adapted.score

    def small_memory(self: Adapted, pack: Any) -> Any:
        if len(pack.tokens) > 450:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")
        return original(self, pack)

    monkeypatch.setattr(Adapted, "score", small_memory)
    events: list[dict[str, Any]] = []
    manifest = run(dataset, tiny_model, tmp_path / "adapter-0001", events.append)
    assert [event["packs_per_step"] for event in events if event["event"] == "out_of_memory"] == [2]
    assert manifest.metrics.epochs_done == 2


def test_recomputing_activations_is_the_last_resort(
    dataset: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evolver.training.model import Adapted

    original = Adapted.score

    def tiny_memory(self: Adapted, pack: Any) -> Any:
        if self.peft.training and not self.base.is_gradient_checkpointing:
            raise MemoryError
        return original(self, pack)

    monkeypatch.setattr(Adapted, "score", tiny_memory)
    undisturbed = run(dataset, tiny_model, tmp_path / "undisturbed", tokens_per_pack=64, packs_per_step=2)
    events: list[dict[str, Any]] = []
    output = tmp_path / "adapter-0001"

    def killed(event: dict[str, Any]) -> None:
        events.append(event)
        if event["event"] == "step" and event["step"] == 4:
            raise Killed

    with pytest.raises(Killed):
        run(dataset, tiny_model, output, killed, tokens_per_pack=64, packs_per_step=2)
    manifest = run(dataset, tiny_model, output, events.append, tokens_per_pack=64, packs_per_step=2)
    *halved, last = [event["recomputes"] for event in events if event["event"] == "out_of_memory"]
    assert (any(halved), last) == (False, True)
    assert "resumed" in {event["event"] for event in events}
    assert manifest.environment is not None
    assert manifest.environment.recomputes
    assert manifest.metrics.loss_last == pytest.approx(undisturbed.metrics.loss_last, rel=1e-4)

    def no_memory(self: Adapted, pack: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(Adapted, "score", no_memory)
    with pytest.raises(TrainError, match=r"\(memory\): one lesson alone does not fit"):
        run(dataset, tiny_model, tmp_path / "none", tokens_per_pack=64)


def test_a_step_of_several_packs_is_the_step_of_one(dataset: Path, tiny_model: Path, tmp_path: Path) -> None:
    whole = run(dataset, tiny_model, tmp_path / "whole", tokens_per_pack=100_000, epochs=3)
    packs = run(dataset, tiny_model, tmp_path / "one", tokens_per_pack=64, epochs=1).metrics.steps
    assert packs > 1
    parts = run(dataset, tiny_model, tmp_path / "parts", tokens_per_pack=64, packs_per_step=packs, epochs=3)
    assert whole.metrics.steps == parts.metrics.steps == 3
    assert parts.metrics.loss_last == pytest.approx(whole.metrics.loss_last, rel=1e-3)
    assert parts.metrics.tokens_saved < whole.metrics.tokens_saved


def test_a_loss_that_is_no_number_fails_with_the_reason(dataset: Path, tiny_model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TrainError, match=r"\(diverged\).*nan"):
        run(dataset, broken, tmp_path / "adapter-0001")
    assert not (tmp_path / "adapter-0001").exists()


def test_rows_that_cannot_be_lessons_are_named(tiny_model: Path, tmp_path: Path) -> None:
    broken = row(1, calls=True)
    write(tmp_path, "valid", [])
    write(tmp_path, "train", [{**broken, "targets": [0]}])
    with pytest.raises(RowInvalid, match="row r1: target 0 is no assistant message"):
        run(tmp_path, tiny_model, tmp_path / "a")
    broken["messages"][1]["tool_calls"][0]["function"]["arguments"] = "{"
    write(tmp_path, "train", [broken])
    with pytest.raises(RowInvalid, match="arguments of add are no JSON"):
        run(tmp_path, tiny_model, tmp_path / "a")


def test_the_process_reports_and_kill_9_then_resume_gives_the_same_adapter(
    dataset: Path, tiny_model: Path, tmp_path: Path
) -> None:
    run(dataset, tiny_model, tmp_path / "whole")
    output = tmp_path / "adapter-0001"
    before = set(_workers())

    def kill(event: dict[str, Any]) -> None:
        if event == {"event": "checkpoint", "step": 1}:  # long before its end, however late it is heard of
            for pid in set(_workers()) - before:
                os.kill(pid, signal.SIGKILL)

    with pytest.raises(TrainError, match="killed"):
        train(CONFIG, dataset, tiny_model, output, name="adapter-0001", on_progress=kill)
    events: list[dict[str, Any]] = []
    result = train(CONFIG, dataset, tiny_model, output, name="adapter-0001", on_progress=events.append)
    assert "resumed" in {event["event"] for event in events}
    assert check_adapter(output) == result.manifest
    assert file_sha256(output / WEIGHTS) == file_sha256(tmp_path / "whole" / WEIGHTS)


def _workers() -> list[int]:
    """The children of this process that run the training worker."""
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
    return [int(pid) for pid in children if b"evolver.training.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_a_failing_process_gives_its_reason(tiny_model: Path, tmp_path: Path) -> None:
    write(tmp_path, "train", [])
    write(tmp_path, "valid", [])
    with pytest.raises(TrainError, match=r"\(data\): train.jsonl holds no lesson"):
        train(CONFIG, tmp_path, tiny_model, tmp_path / "adapter-0001", name="adapter-0001")


@pytest.mark.parametrize("seconds", [0.0, 1000.0], ids=["a checkpoint", "the adapter"])
def test_a_full_disk_fails_cleanly(dataset: Path, tiny_model: Path, tmp_path: Path, seconds: float) -> None:
    """The kernel refuses to let a file grow: every write beyond the limit fails, as on a full disk."""
    output = tmp_path / "adapter-0001"
    config = CONFIG.model_copy(update={"checkpoint_seconds": seconds, "epochs": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(TrainError, match=r"\(disk\): cannot write the .*File too large"):
            train(config, dataset, tiny_model, output, name="adapter-0001")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [], "half a file is left behind"
    train(config, dataset, tiny_model, output, name="adapter-0001")
    check_adapter(output)
