"""A tiny Gemma 3 of random weights."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, Gemma3TextConfig

from tests.fakes.model_folders import write_family
from tests.fakes.pieces import write_pieces
from tests.fakes.tiny_training import SHAPE


def make_gemma(folder: Path) -> Path:
    """A Gemma 3 of seven layers, the sixth of them global, with a window of eight tokens and a tokenizer of pieces."""
    write_family(folder, "gemma3")
    size = write_pieces(folder).get_vocab_size()
    rope = {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    }
    torch.manual_seed(0)
    shape: dict[str, Any] = {**SHAPE, "num_hidden_layers": 7, "head_dim": 16, "query_pre_attn_scalar": 16}
    config = Gemma3TextConfig(vocab_size=size, sliding_window=8, rope_parameters=rope, **shape)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for name, weights in model.named_parameters():
        if name.endswith("norm.weight"):
            torch.nn.init.normal_(weights, std=0.3)
    generation = (folder / "generation_config.json").read_bytes()
    model.save_pretrained(folder)
    (folder / "generation_config.json").write_bytes(generation)
    return folder
