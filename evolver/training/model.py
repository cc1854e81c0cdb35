"""The model that is trained: base weights frozen, a LoRA adapter on top, attention over prefix trees."""

import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from evolver.adapter_files import PEFT_CONFIG, WEIGHTS
from evolver.training import tree_attention
from evolver.training.lora_linear import speed_up


class Adapted:
    """``base`` is called for logits; ``peft`` owns the adapter. ``weights`` are the adapter's masters, in fp32."""

    def __init__(self, peft: PeftModel) -> None:
        self.peft = peft
        self.base: nn.Module = peft.get_base_model()
        self.weights: dict[str, nn.Parameter] = {n: p for n, p in peft.named_parameters() if p.requires_grad}
        speed_up(peft)

    def load_weights(self, values: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.weights.items():
                parameter.copy_(values[name])

    def save(self, folder: Path, model_id: str) -> None:
        """Write safetensors and adapter_config.json as PEFT does, with ``model_id`` in place of the base's path."""
        self.peft.peft_config["default"].base_model_name_or_path = model_id
        self.peft.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
        for entry in folder.iterdir():
            if entry.name not in (WEIGHTS, PEFT_CONFIG):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def dtype_for(device: torch.device) -> torch.dtype:
    """bf16 wherever the processor multiplies it in hardware."""
    if device.type == "cuda":
        return torch.bfloat16
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


def open_model(folder: Path, parent: Path | None, config: dict[str, Any], seed: int, device: torch.device) -> Adapted:
    """Load the base, with a new adapter (seeded) or a trainable copy of ``parent``."""
    torch.manual_seed(seed)
    base: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype_for(device), attn_implementation=tree_attention.NAME, local_files_only=True
    )
    base.to(device)  # pyright: ignore[reportArgumentType]
    base.requires_grad_(False)
    if parent is not None:
        peft = PeftModel.from_pretrained(base, str(parent), is_trainable=True)
    else:
        targets: Sequence[str] = config["targets"]
        lora = LoraConfig(
            r=config["rank"],
            lora_alpha=config["alpha"],
            lora_dropout=config["dropout"],
            target_modules=list(targets),
            bias="none",
            task_type="CAUSAL_LM",
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            peft = get_peft_model(base, lora)
    peft.train()
    return Adapted(peft)
