"""A tiny model and a tiny dataset to train it on, made on the spot."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedConfig, PreTrainedTokenizerFast

from agent.adapters.manifest import Manifest
from evolver.config import TrainConfig
from evolver.training import worker
from evolver.training.supervisor import _spec

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Add two numbers.",
            "parameters": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
        },
    }
]
CONFIG = TrainConfig(
    rank=8, alpha=16, learning_rate=0.02, epochs=2, tokens_per_pack=600, checkpoint_seconds=0, threads=1, patience=0
)
SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
    "initializer_range": 0.4,
}


def make_model(
    folder: Path,
    config: Callable[..., PreTrainedConfig] = LlamaConfig,
    merges: Sequence[tuple[str, str]] = (),
    **shape: Any,
) -> Path:
    """A two-layer model with one token per byte, and one per merge; a Llama unless said otherwise."""
    texts = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *map("".join, merges)]
    core = Tokenizer(models.BPE(vocab={text: i for i, text in enumerate(texts)}, merges=list(merges)))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>", bos_token="<|im_start|>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config(vocab_size=len(tokenizer), **SHAPE, **shape), dtype=torch.float32)
    model.save_pretrained(folder)
    return folder


def row(number: int, *, calls: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {"role": "assistant", "content": "No tool fits."}
    if calls:
        arguments = json.dumps({"a": number, "b": 2})
        call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": arguments}}
        answer = {"role": "assistant", "content": "", "tool_calls": [call]}
    user = {"role": "user", "content": f"Add {number} and 2." if calls else f"Tell story {number}."}
    decision = "call" if calls else "no_call"
    return {"id": f"r{number}", "messages": [user, answer], "tools": TOOLS, "targets": [1], "decision": decision}


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def make_dataset(folder: Path) -> Path:
    """16 rows to train on and 16 to validate, half of them calls."""
    write(folder, "train", [row(i, calls=i % 2 == 0) for i in range(16)])
    write(folder, "valid", [row(i, calls=i % 2 == 0) for i in range(30, 46)])
    return folder


def run(
    dataset: Path, model: Path, output: Path, emit: Callable[[dict[str, Any]], None] = lambda _: None, **changes: Any
) -> Manifest:
    """Train in this process with CONFIG and ``changes``."""
    parent = changes.pop("parent", None)
    config = CONFIG.model_copy(update=changes)
    manifest = worker.run(
        _spec(config, dataset, model, output, output.name, parent, {"tenant": "", "tenants": {}}), emit
    )
    assert manifest is not None
    return manifest


class Killed(BaseException):
    """Nothing in the worker catches it: the run ends where a kill would end it."""
