"""On a GPU in bf16: sharing prefixes gives the loss and the gradients of running each lesson alone."""

import random

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from peft import LoraConfig, get_peft_model  # noqa: E402
from transformers import AutoModelForCausalLM, LlamaConfig  # noqa: E402

from evolver.training import tree_attention  # noqa: E402
from evolver.training.lora_linear import speed_up  # noqa: E402
from evolver.training.prefix_tree import Lesson, pack  # noqa: E402
from evolver.training.step import score  # noqa: E402

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def test_shared_prefix_equals_each_lesson_alone() -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512, hidden_size=256, intermediate_size=512, num_hidden_layers=4, num_attention_heads=8
    )
    model = AutoModelForCausalLM.from_config(config, attn_implementation=tree_attention.NAME, dtype=torch.bfloat16)
    adapted = get_peft_model(model, LoraConfig(r=16, target_modules="all-linear", init_lora_weights=False)).cuda()
    speed_up(adapted)
    generator = random.Random(0)
    prefix = [generator.randrange(512) for _ in range(300)]
    lessons = []
    for number in range(12):
        tokens = (*prefix, *(generator.randrange(512) for _ in range(30 + number)))
        lessons.append(Lesson(str(number), tokens, tuple(range(320, len(tokens)))))

    def gradient(groups: list[list[int]]) -> tuple[float, torch.Tensor]:
        adapted.zero_grad(set_to_none=True)
        total = 0.0
        for members in groups:
            loss = score(adapted.get_base_model(), pack(lessons, members)).loss
            loss.backward()
            total += loss.item()
        return total, torch.cat([p.grad.flatten() for p in adapted.parameters() if p.grad is not None])

    together, shared = gradient([list(range(12))])
    alone, single = gradient([[i] for i in range(12)])
    assert together == pytest.approx(alone, rel=2e-3)
    assert torch.nn.functional.cosine_similarity(shared, single, dim=0) > 0.995
