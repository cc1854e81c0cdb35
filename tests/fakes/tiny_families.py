"""Tiny random models of families that vLLM serves: the real architecture, with the family's tokens and template."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    Qwen3Config,
)

from tests.fakes.model_folders import write_family

_SHAPE: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": 2048,
    "initializer_range": 0.15,
}
"""Two heads of 32: the smallest that vLLM's kernels take."""

CONFIGS: dict[str, Callable[..., PreTrainedConfig]] = {
    "gemma3": lambda **shape: Gemma3TextConfig(
        **shape, sliding_window=64, layer_types=["sliding_attention", "full_attention"], query_pre_attn_scalar=32
    ),
    "llama3": lambda **shape: LlamaConfig(**shape, tie_word_embeddings=False),
    "qwen3": lambda **shape: Qwen3Config(**shape, tie_word_embeddings=True),
    "mistral": lambda **shape: MistralConfig(**shape, tie_word_embeddings=False, sliding_window=None),
}
"""By the names of ``model_folders.FAMILIES``."""


def make_family(folder: Path, name: str) -> Path:
    """Write a model of the family ``name`` to ``folder``: its tokenizer and template, two layers of random weights."""
    write_family(folder, name)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(
        CONFIGS[name](vocab_size=tokenizer.get_vocab_size(), **_SHAPE), dtype=torch.bfloat16
    )
    generation = (folder / "generation_config.json").read_bytes()
    model.save_pretrained(folder)
    (folder / "generation_config.json").write_bytes(generation)
    return folder
