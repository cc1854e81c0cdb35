"""The model that is trained: base weights frozen, a LoRA adapter on top, attention over prefix trees where it can."""

import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from agent.adapters.package import PEFT_CONFIG, WEIGHTS
from evolver.errors import TrainError
from evolver.training.lora_linear import speed_up
from evolver.training.prefix_tree import MIN_GAIN, NEVER, Pack
from evolver.training.sharing import why_not_shared
from evolver.training.step import Scored, score, score_each_alone
from evolver.training.team import Team


class Adapted:
    """``base`` is called for logits; ``peft`` owns the adapter. ``weights`` are the adapter's masters, in fp32.

    ``unshared``: why this model computes each lesson alone; None if a shared prefix is computed once.
    """

    def __init__(self, peft: PeftModel, unshared: str | None) -> None:
        self.peft, self.unshared = peft, unshared
        self.base: Any = peft.get_base_model()
        self.weights: dict[str, nn.Parameter] = {n: p for n, p in peft.named_parameters() if p.requires_grad}
        speed_up(peft)

    @property
    def min_gain(self) -> int:
        """Least gain with which packs for this model are planned and laid out."""
        return MIN_GAIN if self.unshared is None else NEVER

    def score(self, pack: Pack) -> Scored:
        return score(self.base, pack) if self.unshared is None else score_each_alone(self.base, pack)

    def save_memory(self) -> bool:
        """Compute activations again in the backward pass from now on; False if the model does so already or cannot."""
        if self.base.is_gradient_checkpointing or not self.base.supports_gradient_checkpointing:
            return False
        self.base.gradient_checkpointing_enable({"use_reentrant": False})
        return True

    def load_weights(self, values: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.weights.items():
                parameter.copy_(values[name])

    def save(self, folder: Path, model_id: str) -> None:
        """Write safetensors and adapter_config.json as PEFT does, with ``model_id`` in place of the base's path."""
        config: Any = self.peft.peft_config["default"]
        config.base_model_name_or_path = model_id
        config.target_modules = sorted(config.target_modules)  # a set has another order in each process
        self.peft.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
        for entry in folder.iterdir():
            if entry.name not in (WEIGHTS, PEFT_CONFIG):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def dtype_for(device: torch.device) -> torch.dtype:
    """Return bf16 wherever the processor multiplies it in hardware."""
    if device.type == "cuda":
        return torch.bfloat16
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


def open_model(folder: Path, parent: Path | None, config: dict[str, Any], team: Team) -> Adapted:
    """Load the base, with a new adapter (seeded) or a trainable copy of ``parent``. Raises TrainError."""
    dtype = dtype_for(team.device)
    base: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
    base.requires_grad_(False)
    if parent is not None:
        peft = PeftModel.from_pretrained(base, str(parent), is_trainable=True)
        _check_parent(peft, parent.name, config)
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
            torch.manual_seed(config["seed"])
            peft = get_peft_model(base, lora)
    team.place(base)
    peft.eval()
    unshared = why_not_shared(base, config["max_lesson_tokens"], sharded=team.sharded)
    if unshared is not None and team.sharded:
        raise TrainError(
            "model", f"{unshared}; such a model cannot be divided, set [evolver.train] shard_model = false"
        )
    peft.train()
    return Adapted(peft, unshared)


def _check_parent(peft: PeftModel, name: str, config: dict[str, Any]) -> None:
    """An adapter goes on with the shape that it has; the manifest must not claim another."""
    has: Any = peft.peft_config["default"]
    for key, value in (("rank", has.r), ("alpha", has.lora_alpha), ("targets", sorted(has.target_modules))):
        wanted = sorted(config[key]) if key == "targets" else config[key]
        if value != wanted:
            raise TrainError(
                "model",
                f"{name} has {key} {value}, [evolver.train] {key} is {wanted}; set it so, or start from the base",
            )
