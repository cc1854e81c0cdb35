"""Cycles whose adapter is the average of all cycles' own ones, for the benchmark of continual learning.

Each cycle trains an adapter of its own from the base model, as always. What is loaded, judged and perhaps promoted is
the average of these so far: of the products B·A, not of A and of B. It is brought back to the rank of its parts by a
truncated singular value decomposition, the nearest matrix of that rank, and gets a call bias and a probe of its own.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.adapters.manifest import Manifest
from agent.adapters.package import PEFT_CONFIG, WEIGHTS, check_adapter, publish
from evolver.config import Config, TrainConfig
from evolver.cycle import run
from evolver.errors import TrainError
from evolver.training.supervisor import TrainResult
from toolkit.file_hash import file_sha256

if TYPE_CHECKING:
    from torch import Tensor

PARTS = "parts"
"""Folder of the cycles' own adapters, beside a run's data folder."""
_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"


@contextmanager
def averaging(config: Config) -> Iterator[None]:
    """Let the cycles of this process serve averages while the block runs."""
    plain = run.train

    def train(
        settings: TrainConfig, dataset: Path, model: Path, output: Path, *, name: str, **rest: Any
    ) -> TrainResult:
        parts = config.data_folder.parent / PARTS
        adopt(output.parent, parts, before=name)
        own = plain(settings, dataset, model, parts / name, name=name, **rest)
        if not output.exists():
            folders = [*(folder for folder in sorted(parts.glob("adapter-*")) if folder.name < name), own.folder]
            _in_a_process({"model": model, "dataset": dataset, "output": output, "parts": folders, **_spoken(rest)})
        return TrainResult(folder=output, manifest=check_adapter(output))

    run.train = train
    try:
        yield
    finally:
        run.train = plain


def _spoken(rest: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the model is spoken to, as the training process is told."""
    return {"profile": rest["profile"].model_dump(mode="json"), "markers": sorted(rest["markers"].texts)}


def adopt(adapters: Path, parts: Path, *, before: str) -> None:
    """Copy the adapters of cycles before the one called ``before`` that were trained as always to ``parts``."""
    parts.mkdir(parents=True, exist_ok=True)
    for folder in sorted(adapters.glob("adapter-*")):
        if folder.name < before and not (parts / folder.name).exists():
            draft = parts / f".{folder.name}"
            shutil.rmtree(draft, ignore_errors=True)
            shutil.copytree(folder, draft)
            draft.rename(parts / folder.name)


def _in_a_process(spec: Mapping[str, Any]) -> None:
    """Publish an average by a process of its own, so that this one needs no torch. Raises TrainError."""
    with tempfile.TemporaryDirectory(prefix="average-") as folder:
        file = Path(folder) / "spec.json"
        file.write_text(json.dumps(spec, default=lambda value: str(Path(value).resolve())), encoding="utf-8")
        command, root = [sys.executable, "-m", "benchmarks.averaged_adapters", str(file)], Path(__file__).parents[1]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise TrainError("crashed", f"the adapters cannot be averaged: {reason[:1500]}")
    print(done.stdout.strip(), file=sys.stderr)


def publish_average(spec: Mapping[str, Any]) -> float:
    """Publish the average of the adapters in the folders ``parts`` as ``output``; return the least share of a matrix
    (of its squared norm) that its rank keeps. Raises AdapterInvalid."""
    parts, output = [Path(part) for part in spec["parts"]], Path(spec["output"])
    manifest = [check_adapter(part) for part in parts][-1]
    from safetensors.torch import load_file, save_file

    configs = [json.loads((part / PEFT_CONFIG).read_text(encoding="utf-8")) for part in parts]
    scales = [config["lora_alpha"] / config["r"] for config in configs]
    weights, kept = average([load_file(part / WEIGHTS) for part in parts], scales)
    draft = output.parent / f".{output.name}.draft"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    save_file(weights, draft / WEIGHTS, metadata={"format": "pt"})
    shutil.copy2(parts[-1] / PEFT_CONFIG, draft / PEFT_CONFIG)
    publish(draft, output, _examined(spec, draft, manifest))
    return kept


def _examined(spec: Mapping[str, Any], draft: Path, own: Manifest) -> Manifest:
    """Return the manifest of the average in ``draft``: that of its last part, with what is measured anew."""
    from evolver.training.data import read_data
    from evolver.training.model import open_model
    from evolver.training.team import open_team
    from evolver.training.worker import examine

    began, config = time.monotonic(), own.hyper_parameters
    data = read_data(
        {"model_folder": spec["model"], "dataset_folder": spec["dataset"], "config": config}
        | {name: spec[name] for name in ("profile", "markers")}
    )
    team = open_team(sharded=False)
    found = examine(open_model(Path(spec["model"]), draft, config, team), data, config["tokens_per_pack"])
    team.close()
    return own.model_copy(
        update={
            "files": {name: file_sha256(draft / name) for name in (WEIGHTS, PEFT_CONFIG)},
            "metrics": own.metrics.model_copy(update={"loss_valid": found.loss}),
            "calibration": found.calibration,
            "probe": found.probe,
            "wall_seconds": round(own.wall_seconds + time.monotonic() - began, 3),
            "created_at": time.time(),
        }
    )


def average(parts: Sequence[Mapping[str, "Tensor"]], scales: Sequence[float]) -> tuple[dict[str, "Tensor"], float]:
    """Return LoRA matrices whose products are nearest to the mean of the parts' scaled products, to be scaled as those
    of the last part; and the least share of a product's squared norm that is kept. Raises TrainError where the parts
    adapt other matrices."""
    if len({frozenset(part) for part in parts}) != 1:
        raise TrainError("model", "the adapters adapt other matrices, so that they have no average")
    found: dict[str, Tensor] = {}
    least = 1.0
    for down in (name for name in parts[-1] if name.endswith(_DOWN)):
        up = down.removesuffix(_DOWN) + _UP
        share = [scale / scales[-1] / len(parts) for scale in scales]
        pairs = [(part[up].double() * weight, part[down].double()) for part, weight in zip(parts, share, strict=True)]
        up_now, down_now, kept = nearest(pairs, rank=parts[-1][down].shape[0])
        found[up], found[down] = up_now.to(parts[-1][up].dtype).contiguous(), down_now.to(parts[-1][down].dtype)
        least = min(least, kept)
    return {name: matrix.contiguous() for name, matrix in found.items()}, least


def nearest(pairs: Sequence[tuple["Tensor", "Tensor"]], *, rank: int) -> tuple["Tensor", "Tensor", float]:
    """Return the factors of the matrix of ``rank`` nearest to the sum of the products of ``pairs``, and the share of
    its squared norm that they keep. The sum itself, which is large, is never made."""
    import torch

    ups, downs = torch.cat([up for up, _ in pairs], 1), torch.cat([down for _, down in pairs], 0)
    left, inner_left = torch.linalg.qr(ups)
    right, inner_right = torch.linalg.qr(downs.T)
    rows, sizes, columns = torch.linalg.svd(inner_left @ inner_right.T)
    roots = torch.zeros(rank, dtype=sizes.dtype)
    most = min(rank, len(sizes))
    roots[:most] = sizes[:most].sqrt()
    up, down = ups.new_zeros(ups.shape[0], rank), downs.new_zeros(rank, downs.shape[1])
    up[:, :most] = left @ rows[:, :most] * roots[:most]
    down[:most] = roots[:most, None] * (columns[:most] @ right.T)
    whole = sizes.square().sum().item()
    return up, down, sizes[:most].square().sum().item() / whole if whole else 1.0


def main(file: Path) -> None:
    """Publish the average that ``file`` specifies, and say what it keeps."""
    spec = json.loads(file.read_text(encoding="utf-8"))
    kept = publish_average(spec)
    print(f"the average of {len(spec['parts'])} adapters keeps at least {100 * kept:.0f} % of each matrix")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
