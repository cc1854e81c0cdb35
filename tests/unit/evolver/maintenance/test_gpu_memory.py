"""Division of one GPU between vLLM and the trainer. The shapes are those of published models."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.models import default_model
from evolver.config import Config
from evolver.maintenance import gpu_memory
from evolver.maintenance.doctor import Check, examine
from evolver.maintenance.gpu_memory import ModelShape, card_gib, divide, model_shape, shape_of
from toolkit.config import load_config
from toolkit.errors import UserError

ROOT = Path(__file__).parents[4]
QWEN3_4B: dict[str, Any] = {
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
}
QWEN3_8B = QWEN3_4B | {"hidden_size": 4096, "intermediate_size": 12288}
SMALL = shape_of(QWEN3_4B, 2 * 4_022_000_000)
LARGE = shape_of(QWEN3_8B, 2 * 8_191_000_000)


def shipped(name: str) -> Config:
    return load_config(ROOT / name, Config)


def test_the_shape_of_a_model_is_that_of_its_layers() -> None:
    assert SMALL.kv_bytes_per_token == 36 * 8 * 128 * 2 * 2
    assert SMALL.lora_parameters_per_rank * 16 == 33_030_144
    assert SMALL.weights_gib == pytest.approx(7.49, abs=0.01)


def test_without_head_size_and_groups_all_heads_divide_the_width() -> None:
    config = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    assert shape_of(config, 0) == ModelShape(0.0, 2 * 2 * 64 * 2, 2 * (8 * 64 + 3 * (64 + 128)))


@pytest.mark.parametrize(
    ("file", "total", "shape", "kv_tokens", "activations"),
    [("config.gpu.toml", 24, SMALL, 21_900, 2.8), ("config.gpu-80gb.toml", 80, LARGE, 169_000, 19.4)],
)
def test_the_shipped_settings_divide_as_their_comments_say(
    file: str, total: int, shape: ModelShape, kv_tokens: int, activations: float
) -> None:
    config = shipped(file)
    found = divide(total, shape, config.agent.serving.vllm_process, config.evolver.train)
    assert found.kv_tokens == pytest.approx(kv_tokens, rel=0.01)
    assert found.activations == pytest.approx(activations, abs=0.05)
    text = (ROOT / file).read_text()
    assert f"KV cache {found.kv_tokens * shape.kv_bytes_per_token / 2**30:.1f}, which is {kv_tokens:,} tokens" in text
    assert f"activations {activations}" in text


def test_a_share_that_is_too_small_is_refused_with_the_share_that_is_needed() -> None:
    config = shipped("config.gpu.toml")
    with pytest.raises(UserError, match=r"vLLM needs 17.9 GiB of the GPU's 24 GiB and gets 12.0 .* to 0.75 or more"):
        divide(24, LARGE, config.agent.serving.vllm_process, config.evolver.train)
    little = config.evolver.train.model_copy(update={"gpu_memory_share": 0.3})
    with pytest.raises(UserError, match=r"training needs 9.0 GiB .* gets 7.2 .*\[evolver.train\] .* to 0.38 or more"):
        divide(24, SMALL, config.agent.serving.vllm_process, little)
    with pytest.raises(UserError, match="use a larger GPU, or a smaller model"):
        divide(12, LARGE, config.agent.serving.vllm_process, config.evolver.train)


def test_a_divided_base_model_needs_its_part_only() -> None:
    config = shipped("config.gpu-80gb.toml")
    halves = config.evolver.train.model_copy(update={"processes": 2, "shard_model": True})
    whole, half = (divide(80, LARGE, config.agent.serving.vllm_process, t) for t in (config.evolver.train, halves))
    assert half.activations - whole.activations == pytest.approx((LARGE.weights_gib + 1.3) / 2, abs=0.05)


def test_the_model_is_read_from_its_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not describe a transformer"):
        model_shape(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"text_config": QWEN3_4B}))
    with pytest.raises(UserError, match=r"has no \*\.safetensors"):
        model_shape(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"x" * 1024)
    assert model_shape(tmp_path) == shape_of(QWEN3_4B, 1024)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="does not describe a transformer: KeyError"):
        model_shape(tmp_path)


def test_the_smallest_card_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout="81920\n24564\n"))
    assert card_gib() == pytest.approx(23.99, abs=0.01)


@pytest.mark.parametrize("error", [FileNotFoundError(), subprocess.CalledProcessError(9, "nvidia-smi")])
def test_without_a_driver_there_is_no_card(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(subprocess, "run", failing)
    assert card_gib() is None


def test_the_doctor_says_how_the_gpu_divides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text(json.dumps(QWEN3_4B))
    monkeypatch.setattr(gpu_memory, "card_gib", lambda: 24.0)
    monkeypatch.setattr(default_model, "present", lambda *_: None)
    base = shipped("config.gpu.toml").model_copy(update={"data_folder": tmp_path})

    def found() -> Check:
        return next(check for check in examine(base) if check.name == "gpu")

    assert found() == Check(name="gpu", ok=True, found="24 GiB; the model is not there yet")
    monkeypatch.setattr(default_model, "present", lambda *_: tmp_path)
    monkeypatch.setattr(gpu_memory, "model_shape", lambda _: SMALL)
    assert found() == Check(
        name="gpu",
        ok=True,
        found="24 GiB: vLLM 12.0 (weights 7.5, KV cache for 21,906 tokens), training 10.8 (weights 7.5, 2.8 for "
        "activations)",
    )
    monkeypatch.setattr(gpu_memory, "model_shape", lambda _: LARGE)
    assert not found().ok
