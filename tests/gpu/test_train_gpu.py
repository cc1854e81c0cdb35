"""On a GPU in bf16: sharing prefixes rounds no worse than transformers and PEFT, which run each lesson alone."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, Gemma2Config, LlamaConfig, PreTrainedConfig

from evolver.training import tree_attention
from evolver.training.lora_linear import speed_up
from evolver.training.prefix_tree import TokenizedLesson, pack
from evolver.training.step import score

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

DEVICE = "cuda"
VOCABULARY = 512
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
CONFIGS: dict[str, Callable[[], PreTrainedConfig]] = {
    "llama, tied": lambda: LlamaConfig(**SHAPE, tie_word_embeddings=True),
    "gemma2, soft caps and window": lambda: Gemma2Config(**SHAPE, sliding_window=100, query_pre_attn_scalar=32),
}
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def _adapted(name: str, implementation: str, dtype: torch.dtype) -> nn.Module:
    """The same base weights, each a bf16 number, and the same adapter in fp32, whatever is asked for."""
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(
        CONFIGS[name](), attn_implementation=implementation, dtype=torch.bfloat16
    ).to(dtype)
    adapted = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=TARGETS))
    torch.manual_seed(8)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn_like(parameter) * 0.05)
    return adapted.to(DEVICE)


def _lessons() -> list[TokenizedLesson]:
    """Over one prefix of 300 tokens: two groups that share another 40, and each lesson's own."""
    generator = random.Random(0)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(generator.randrange(3, VOCABULARY) for _ in range(count))

    prefix, groups = tokens(300), (tokens(40), tokens(40))
    sequences = [(*prefix, *groups[number % 2], *tokens(30 + number)) for number in range(12)]
    return [TokenizedLesson(str(i), tokens, tuple(range(350, len(tokens)))) for i, tokens in enumerate(sequences)]


def _alone(model: nn.Module, lessons: list[TokenizedLesson]) -> float:
    """The summed loss by transformers' own forward pass, one lesson at a time; gradients are added up."""
    total = 0.0
    for lesson in lessons:
        ids = torch.tensor(lesson.tokens, device=DEVICE)
        logits = model(input_ids=ids[None], use_cache=False).logits[0].float()
        places = torch.tensor(lesson.targets, device=DEVICE)
        loss = nn.functional.cross_entropy(logits[places - 1], ids[places], reduction="sum") * lesson.weight
        loss.backward()
        total += loss.item()
    return total


def _gradient(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.grad.float().flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("name", CONFIGS)
def test_a_shared_prefix_rounds_no_worse_than_the_plain_model(name: str) -> None:
    lessons = _lessons()
    exact, plain = (_adapted(name, "eager", dtype) for dtype in (torch.float32, torch.bfloat16))
    expected, alone = _alone(exact, lessons), _alone(plain, lessons)
    shared = _adapted(name, tree_attention.NAME, torch.bfloat16)
    assert speed_up(shared) == 4 * len(TARGETS)
    packed = pack(lessons, range(len(lessons)))
    assert len(packed.tokens) < 1000 < packed.plain_tokens
    loss = score(shared.get_base_model(), packed).loss
    loss.backward()

    assert abs(loss.item() - expected) <= 2 * abs(alone - expected) + 2e-3 * expected
    true, rough, found = (_gradient(model) for model in (exact, plain, shared))
    assert len(found) == len(true)
    assert (found - true).norm() <= 2 * (rough - true).norm() + 0.01 * true.norm()
    assert (rough - true).norm() < 0.2 * true.norm(), "else the bound says nothing"
