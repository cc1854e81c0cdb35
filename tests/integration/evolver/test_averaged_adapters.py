"""The average of adapters: of their dense products, brought back to their rank, and published as a checked adapter."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from agent.adapters.manifest import Manifest
from agent.adapters.package import PEFT_CONFIG, WEIGHTS, check_adapter, manifest_sha256, model_sha256
from agent.models.detect import profile_of
from agent.models.template_markers import NO_MARKERS
from benchmarks import averaged_adapters
from benchmarks.averaged_adapters import (
    PARTS,
    _in_a_process,
    adopt,
    average,
    averaging,
    main,
    nearest,
    publish_average,
)
from evolver.config import Config
from evolver.cycle import run as cycle_run
from evolver.errors import TrainError
from evolver.training.supervisor import TrainResult
from tests.fakes.tiny_training import CONFIG, make_dataset, make_model, run
from toolkit.file_hash import file_sha256

torch.set_num_threads(1)
RANK, ROWS, COLUMNS = 4, 20, 12


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="module")
def parts(tiny_model: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("parts")
    for number in (1, 2):
        run(dataset, tiny_model, folder / f"adapter-000{number}", seed=number)
    return [folder / "adapter-0001", folder / "adapter-0002"]


def part(seed: int, rank: int = RANK) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"q.lora_A.weight": (rank, COLUMNS), "q.lora_B.weight": (ROWS, rank)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def dense(weights: dict[str, torch.Tensor], scale: float = 1.0) -> torch.Tensor:
    return scale * weights["q.lora_B.weight"].double() @ weights["q.lora_A.weight"].double()


def test_one_adapter_is_its_own_average() -> None:
    found, kept = average([part(1)], [2.0])
    torch.testing.assert_close(dense(found), dense(part(1)), rtol=1e-5, atol=1e-5)
    assert kept == pytest.approx(1)


def test_where_the_rank_is_enough_the_average_is_that_of_the_dense_products() -> None:
    """Two parts whose matrices are half zero have together the rank of one."""
    halves = [part(1), part(2)]
    for one in halves:
        one["q.lora_A.weight"][RANK // 2 :] = 0
    found, kept = average(halves, [2.0, 2.0])
    torch.testing.assert_close(2 * dense(found), (dense(halves[0], 2) + dense(halves[1], 2)) / 2, rtol=1e-5, atol=1e-5)
    assert kept == pytest.approx(1)
    of_factors = {name: (halves[0][name] + halves[1][name]) / 2 for name in halves[0]}
    assert (dense(of_factors) - dense(found)).norm() > 0.3 * dense(found).norm(), "averaging A and B is something else"


def test_else_it_is_the_nearest_matrix_of_the_rank() -> None:
    some = [part(1), part(2), part(3)]
    mean = torch.stack([dense(one) for one in some]).mean(0)
    rows, sizes, columns = torch.linalg.svd(mean)
    best = rows[:, :RANK] * sizes[:RANK] @ columns[:RANK]
    found, kept = average(some, [1.0, 1.0, 1.0])
    assert found["q.lora_A.weight"].shape == (RANK, COLUMNS)
    torch.testing.assert_close(dense(found), best, rtol=1e-4, atol=1e-4)
    assert kept == pytest.approx((sizes[:RANK].square().sum() / sizes.square().sum()).item())
    assert 0 < kept < 1


def test_each_part_counts_with_its_own_scale() -> None:
    found, _ = average([part(1, rank=2), part(1, rank=RANK)], [3.0, 1.0])
    rows, sizes, columns = torch.linalg.svd((3 * dense(part(1, rank=2)) + dense(part(1))) / 2)
    torch.testing.assert_close(dense(found), rows[:, :RANK] * sizes[:RANK] @ columns[:RANK], rtol=1e-4, atol=1e-4)


def test_a_rank_above_the_products_is_filled_with_zeros_and_zeros_stay_zeros() -> None:
    up, down, kept = nearest([(torch.randn(3, 1).double(), torch.randn(1, 2).double())], rank=RANK)
    assert (up.shape, down.shape, kept) == ((3, RANK), (RANK, 2), pytest.approx(1))
    up, down, kept = nearest([(torch.zeros(3, 1).double(), torch.zeros(1, 2).double())], rank=1)
    assert (up.abs().sum(), down.abs().sum(), kept) == (0, 0, 1)


def test_adapters_of_other_matrices_have_no_average() -> None:
    other = {name.replace("q.", "k."): matrix for name, matrix in part(1).items()}
    with pytest.raises(TrainError, match="no average"):
        average([part(1), other], [1.0, 1.0])


def spec(model: Path, dataset: Path, output: Path, parts: list[Path]) -> dict[str, Any]:
    spoken = {"profile": profile_of(model).model_dump(mode="json"), "markers": []}
    return {"model": model, "dataset": dataset, "output": output, "parts": parts, **spoken}


def test_an_average_of_equal_adapters_answers_as_they_do_and_is_examined_anew(
    tiny_model: Path, dataset: Path, parts: list[Path], tmp_path: Path
) -> None:
    output = tmp_path / "adapter-0001"
    assert publish_average(spec(tiny_model, dataset, output, [parts[0], parts[0]])) == pytest.approx(1, abs=1e-6)
    own, found = check_adapter(parts[0]), check_adapter(output, base_sha256=model_sha256(tiny_model))
    assert found.probe
    assert own.probe
    # The model computes in bf16, where it can: other factors of the same matrix round otherwise.
    logprobs, wanted, base = map(torch.tensor, (found.probe.logprobs, own.probe.logprobs, own.probe.base_logprobs))
    assert (logprobs - wanted).abs().mean() < 0.1 * (wanted - base).abs().mean()
    assert found.probe.base_logprobs == own.probe.base_logprobs
    assert found.calibration
    assert own.calibration
    assert found.calibration.token_id == own.calibration.token_id
    assert found.metrics.loss_valid == pytest.approx(own.metrics.loss_valid, rel=0.05)
    assert found.metrics.loss_valid != own.metrics.loss_valid
    assert found.files != own.files
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["adapter-0001"]


def test_the_published_average_is_served_as_the_mean_of_the_dense_changes(
    tiny_model: Path, dataset: Path, parts: list[Path], tmp_path: Path
) -> None:
    """Parts of half the rank, so that nothing is cut off; PEFT must answer as the model with the mean added to its
    weights does."""
    halves = []
    for number, source in enumerate(parts, 1):
        halves.append(tmp_path / "halves" / f"adapter-000{number}")
        shutil.copytree(source, halves[-1])
        weights = load_file(source / WEIGHTS)
        for name, matrix in weights.items():
            if ".lora_A." in name:
                matrix[CONFIG.rank // 2 :] = 0
        save_file(weights, halves[-1] / WEIGHTS)
        manifest = check_after(halves[-1])
        assert check_adapter(halves[-1]) == manifest
    output = tmp_path / "adapter-0002"
    assert publish_average(spec(tiny_model, dataset, output, halves)) == pytest.approx(1, abs=1e-6)
    ids = torch.tensor([[5, 6, 7, 8, 9, 10]])
    merged: Any = AutoModelForCausalLM.from_pretrained(tiny_model)
    with torch.no_grad():
        plain = merged(ids).logits
        for half in halves:
            weights = load_file(half / WEIGHTS)
            for name in [name for name in weights if ".lora_A." in name]:
                change = weights[name.replace("lora_A", "lora_B")] @ weights[name] * CONFIG.alpha / CONFIG.rank
                target = name.removeprefix("base_model.model.").replace(".lora_A", "")
                merged.get_parameter(target).add_(change / 2)
        served: Any = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_model), str(output))
        torch.testing.assert_close(served(ids).logits, merged(ids).logits, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(plain, merged(ids).logits, atol=0.1)


def check_after(folder: Path) -> Manifest:
    """Write the manifest of changed weights."""
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
    manifest = manifest.model_copy(update={"files": {name: file_sha256(folder / name) for name in manifest.files}})
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return manifest


def test_a_cycle_publishes_the_average_of_its_own_adapter_and_the_earlier_ones(
    tiny_model: Path, dataset: Path, parts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Path] = []

    def train(settings: Any, data: Path, model: Path, output: Path, *, name: str, **rest: Any) -> TrainResult:
        trained.append(output)
        if not output.exists():
            shutil.copytree(parts[1], output)
        return TrainResult(folder=output, manifest=check_adapter(output))

    monkeypatch.setattr(cycle_run, "train", train)
    monkeypatch.setattr(averaged_adapters, "_in_a_process", here)
    adapters = tmp_path / "data" / "adapters"
    shutil.copytree(parts[0], adapters / "adapter-0001")
    rest = {"profile": profile_of(tiny_model), "markers": NO_MARKERS}
    with averaging(Config(data_folder=tmp_path / "data")):
        found, again = (
            cycle_run.train(CONFIG, dataset, tiny_model, adapters / "adapter-0002", name="adapter-0002", **rest)
            for _ in range(2)
        )
    assert cycle_run.train is train
    own = tmp_path / PARTS
    assert trained == [own / "adapter-0002"] * 2
    assert sorted(folder.name for folder in own.iterdir()) == ["adapter-0001", "adapter-0002"]
    assert found == again == TrainResult(folder=adapters / "adapter-0002", manifest=check_adapter(found.folder))
    scale = CONFIG.alpha / CONFIG.rank
    expected, _ = average([load_file(part / WEIGHTS) for part in parts], [scale, scale])
    got = load_file(found.folder / WEIGHTS)
    for name in (name for name in expected if ".lora_A." in name):
        up = name.replace("lora_A", "lora_B")
        torch.testing.assert_close(got[up] @ got[name], expected[up] @ expected[name], rtol=1e-4, atol=1e-5)
    config = json.loads((found.folder / PEFT_CONFIG).read_text())
    assert config["r"] == CONFIG.rank


def here(spec: Mapping[str, Any]) -> None:
    """In this process: to import torch in another one takes long."""
    publish_average(json.loads(json.dumps(spec, default=str)))


def test_a_process_that_cannot_average_says_why(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match=r"cannot be averaged.*manifest\.json: No such file"):
        _in_a_process({"parts": [tmp_path / "gone"], "output": tmp_path / "out"})


def test_the_process_says_what_is_kept(
    tiny_model: Path, dataset: Path, parts: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(spec(tiny_model, dataset, tmp_path / "adapter-0003", parts), default=str))
    main(file)
    said = capsys.readouterr().out
    kept = int(said.split("at least ")[1].split(" %")[0])
    assert said.startswith("the average of 2 adapters keeps at least ")
    assert 0 < kept < 100
    assert check_adapter(tmp_path / "adapter-0003").name == "adapter-0002"


def test_an_average_is_no_part_of_the_next_one(parts: list[Path], tmp_path: Path) -> None:
    adapters, own = tmp_path / "adapters", tmp_path / PARTS
    for number, source in ((1, parts[0]), (2, parts[1])):
        shutil.copytree(source, adapters / f"adapter-000{number}")
    shutil.copytree(parts[0], own / "adapter-0002")
    adopt(adapters, own, before="adapter-0003")
    assert manifest_sha256(own / "adapter-0001") == manifest_sha256(parts[0])
    assert manifest_sha256(own / "adapter-0002") == manifest_sha256(parts[0]), "its own one, trained before"
    adopt(adapters, own, before="adapter-0003")
    assert len(list(own.iterdir())) == 2
