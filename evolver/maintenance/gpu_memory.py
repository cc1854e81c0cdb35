"""Memory of one GPU that vLLM and the trainer share, worked out before either is started.

Both hold the weights: vLLM to serve, the trainer to learn on them. What is left of vLLM's share is KV cache, what is
left of the trainer's is for activations.
"""

import json
import subprocess
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from agent.config import VllmConfig
from evolver.config import TrainConfig
from toolkit.errors import UserError

VLLM_OVERHEAD_GIB = 1.5
"""Activations and workspaces of vLLM's largest batch; an estimate."""

LEAST_ACTIVATIONS_GIB = 1.0
"""With recomputed activations, a pack of some hundred tokens."""

_BYTES_PER_LORA_PARAMETER = 16
"""Weight, gradient and Adam's two moments, each float32."""

_BYTES_PER_VALUE = 2
"""bfloat16: weights and KV cache."""


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a transformer, from its ``config.json``."""

    weights_gib: float
    kv_bytes_per_token: int
    lora_parameters_per_rank: int


@dataclass(frozen=True)
class GpuMemory:
    """Division of a GPU's memory, in GiB; ``kv_tokens`` fit the KV cache."""

    total: float
    weights: float
    serving: float
    kv_tokens: int
    training: float
    activations: float

    def __str__(self) -> str:
        return (
            f"{self.total:.0f} GiB: vLLM {self.serving:.1f} (weights {self.weights:.1f}, KV cache for "
            f"{self.kv_tokens:,} tokens), training {self.training:.1f} (weights {self.weights:.1f}, "
            f"{self.activations:.1f} for activations)"
        )


def model_shape(folder: Path) -> ModelShape:
    """Return the sizes of the transformers model in ``folder``.

    Raises UserError where the folder has no readable ``config.json`` or no safetensors.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        if not weights:
            raise UserError(f"{folder} has no *.safetensors")
        return shape_of(config.get("text_config", config), weights)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder / 'config.json'} does not describe a transformer: {error!r}") from error


def shape_of(config: dict[str, Any], weights_bytes: int) -> ModelShape:
    """Return the sizes of a model with this ``config.json`` and ``weights_bytes`` in bfloat16. Raises KeyError."""
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    head_size = config.get("head_dim") or hidden // heads
    queries, keys = heads * head_size, (config.get("num_key_value_heads") or heads) * head_size
    attention = 2 * (hidden + queries) + 2 * (hidden + keys)
    feed_forward = 3 * (hidden + config["intermediate_size"])
    layers = config["num_hidden_layers"]
    return ModelShape(
        weights_gib=weights_bytes / 2**30,
        kv_bytes_per_token=layers * 2 * keys * _BYTES_PER_VALUE,
        lora_parameters_per_rank=layers * (attention + feed_forward),
    )


def divide(total_gib: float, shape: ModelShape, serving: VllmConfig, train: TrainConfig) -> GpuMemory:
    """Divide a GPU of ``total_gib`` by the two shares.

    Raises UserError, with the fix, when one of the shares is too small for its work.
    """
    share, training = serving.gpu_memory_share * total_gib, train.gpu_memory_share * total_gib
    cache = share - shape.weights_gib - VLLM_OVERHEAD_GIB
    kv_tokens = int(cache * 2**30 / shape.kv_bytes_per_token)
    if kv_tokens < serving.max_model_len:
        needed = shape.weights_gib + VLLM_OVERHEAD_GIB + serving.max_model_len * shape.kv_bytes_per_token / 2**30
        raise UserError(_too_small("agent.serving.vllm_process", "vLLM", needed, total_gib, serving.gpu_memory_share))
    learned = shape.lora_parameters_per_rank * train.rank * _BYTES_PER_LORA_PARAMETER / 2**30
    activations = training - (shape.weights_gib + learned) / (train.processes if train.shard_model else 1)
    if activations < LEAST_ACTIVATIONS_GIB:
        needed = training - activations + LEAST_ACTIVATIONS_GIB
        raise UserError(_too_small("evolver.train", "training", needed, total_gib, train.gpu_memory_share))
    return GpuMemory(total_gib, shape.weights_gib, share, kv_tokens, training, activations)


def card_gib() -> float | None:
    """Return the memory of the smallest NVIDIA GPU of this machine, as its driver reports it; None without one."""
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout.split()
        return min(int(mebibytes) for mebibytes in found) / 1024
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _too_small(table: str, who: str, needed: float, total: float, share: float) -> str:
    fix = (
        f"set [{table}] gpu_memory_share to {ceil(100 * needed / total) / 100} or more"
        if needed < total
        else "use a larger GPU"
    )
    return (
        f"{who} needs {needed:.1f} GiB of the GPU's {total:.0f} GiB and gets {share * total:.1f} "
        f"([{table}] gpu_memory_share = {share}); {fix}, or a smaller model"
    )
