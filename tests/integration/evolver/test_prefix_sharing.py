"""Sharing prefixes must not change anything: loss and LoRA gradients equal running each lesson alone."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    Qwen3Config,
)

from evolver.training import tree_attention
from evolver.training.lora_linear import speed_up
from evolver.training.prefix_tree import Pack, TokenizedLesson, pack
from evolver.training.step import score

torch.set_num_threads(1)

VOCABULARY = 61
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
CONFIGS: dict[str, Callable[[], PreTrainedConfig]] = {
    "llama, tied": lambda: LlamaConfig(**SHAPE, tie_word_embeddings=True),
    "llama, biases": lambda: LlamaConfig(**SHAPE, attention_bias=True, mlp_bias=True),
    "qwen3": lambda: Qwen3Config(**SHAPE),
    "mistral, window": lambda: MistralConfig(**SHAPE, sliding_window=5),
    "gemma2, soft caps and window": lambda: Gemma2Config(**SHAPE, sliding_window=5, query_pre_attn_scalar=7),
    "gemma3, window": lambda: Gemma3TextConfig(
        **SHAPE, sliding_window=5, layer_types=["sliding_attention", "full_attention"]
    ),
}
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def _adapted(name: str, implementation: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(7)
    config = CONFIGS[name]()
    model = AutoModelForCausalLM.from_config(config, attn_implementation=implementation, dtype=dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape).to(dtype), alpha=0.15)
    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=TARGETS))
    torch.manual_seed(8)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn_like(parameter) * 0.2)
    return adapted


@pytest.fixture(scope="module", params=CONFIGS)
def models(request: pytest.FixtureRequest) -> tuple[nn.Module, nn.Module]:
    """The same model twice: as transformers and PEFT run it, and as the trainer does."""
    shared = _adapted(request.param, tree_attention.NAME)
    assert speed_up(shared) == 14
    return _adapted(request.param, "eager"), shared


def _plain(model: nn.Module, lessons: list[TokenizedLesson]) -> torch.Tensor:
    total = torch.zeros(())
    for lesson in lessons:
        logits = model(input_ids=torch.tensor([lesson.tokens]), use_cache=False).logits[0].float()
        places = torch.tensor(lesson.targets)
        losses = nn.functional.cross_entropy(logits[places - 1], torch.tensor(lesson.tokens)[places], reduction="sum")
        total = total + lesson.weight * losses
        for place, rejected, weight in lesson.rivals:
            right, wrong = torch.log_softmax(logits[place - 1], -1)[[lesson.tokens[place], rejected]]
            total = total + weight * torch.log1p(torch.exp(wrong - right))
    return total


def _gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    found = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    model.zero_grad(set_to_none=True)
    return {name: gradient for name, gradient in found.items() if gradient is not None}


@st.composite
def trees(draw: st.DrawFn) -> list[TokenizedLesson]:
    """Lessons that grow on each other: each continues an earlier one from any place."""
    token = st.integers(3, VOCABULARY - 1)
    sequences: list[list[int]] = []
    for _ in range(draw(st.integers(1, 7))):
        stem = draw(st.sampled_from(sequences)) if sequences else []
        keep = draw(st.integers(0, len(stem)))
        sequences.append(stem[:keep] + draw(st.lists(token, min_size=2, max_size=14)))
    lessons = []
    for number, tokens in enumerate(sequences):
        targets = draw(st.lists(st.integers(1, len(tokens) - 1), min_size=1, max_size=6, unique=True))
        weight = draw(st.sampled_from([1.0, 0.5, 2.0]))
        pairs = st.tuples(st.sampled_from(targets), token, st.sampled_from([1.0, 0.3]))
        rivals = tuple(pair for pair in draw(st.lists(pairs, max_size=2)) if tokens[pair[0]] != pair[1])
        lessons.append(TokenizedLesson(str(number), tuple(tokens), tuple(sorted(targets)), weight, rivals=rivals))
    return lessons


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lessons=trees(), min_gain=st.sampled_from([1, 6]), most_kept=st.sampled_from([0, tree_attention.MOST_KEPT]))
def test_loss_and_gradients_equal_running_each_lesson_alone(
    models: tuple[nn.Module, nn.Module], lessons: list[TokenizedLesson], min_gain: int, most_kept: int
) -> None:
    plain, shared = models
    expected = _plain(plain, lessons)
    expected.backward()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_attention, "MOST_KEPT", most_kept)
        scored = score(shared.get_base_model(), pack(lessons, range(len(lessons)), min_gain=min_gain))
        scored.loss.backward()
    torch.testing.assert_close(scored.loss, expected, rtol=2e-5, atol=1e-4)
    wanted, got = _gradients(plain), _gradients(shared)
    assert wanted.keys() == got.keys()
    assert wanted
    for name, gradient in wanted.items():
        torch.testing.assert_close(got[name], gradient, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


def test_weights_of_a_large_pack_are_not_kept_for_the_backward_pass(
    models: tuple[nn.Module, nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = tuple(3 + i % 50 for i in range(60))
    lessons = [TokenizedLesson(str(i), (*prefix, 3 + i, 7, 9), (61, 62)) for i in range(8)]
    packed = pack(lessons, range(8))
    weights = tree_attention.layout(packed, torch.device("cpu")).weights(heads=6)
    assert weights > 6 * 60 * 60
    kept = _kept(models[1], packed)
    monkeypatch.setattr(tree_attention, "MOST_KEPT", weights - 1)
    assert _kept(models[1], packed) <= kept - 2 * weights, "two layers"


def _kept(model: nn.Module, packed: Pack) -> int:
    """How many numbers the graph of one pass holds."""
    sizes: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        score(model.get_base_model(), packed)
    return sum(sizes)


@pytest.fixture(scope="module", params=CONFIGS)
def rough_models(request: pytest.FixtureRequest) -> tuple[nn.Module, nn.Module, nn.Module]:
    """In bf16: run plainly, and as the trainer does; and the same numbers computed in fp32."""
    shared = _adapted(request.param, tree_attention.NAME, torch.bfloat16)
    assert speed_up(shared) == 14
    plain = _adapted(request.param, "eager", torch.bfloat16)
    return plain, shared, _adapted(request.param, "eager", torch.bfloat16).float()


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lessons=trees(), min_gain=st.sampled_from([1, 6]))
def test_in_bf16_sharing_rounds_no_worse_than_running_each_lesson_alone(
    rough_models: tuple[nn.Module, nn.Module, nn.Module], lessons: list[TokenizedLesson], min_gain: int
) -> None:
    plain, shared, exact = rough_models
    losses = []
    for model in (plain, exact):
        loss = _plain(model, lessons)
        loss.backward()
        losses.append(loss.item())
    scored = score(shared.get_base_model(), pack(lessons, range(len(lessons)), min_gain=min_gain))
    scored.loss.backward()
    found, expected = scored.loss.item(), losses[1]
    assert abs(found - expected) <= 2 * abs(losses[0] - expected) + 0.02 * expected
    alone, together, true = (
        torch.cat([gradient.float().flatten() for gradient in _gradients(model).values()])
        for model in (plain, shared, exact)
    )
    assert (together - true).norm() <= 2 * (alone - true).norm() + 0.1 * true.norm()
    assert (alone - true).norm() < 0.5 * true.norm(), "else the bound says nothing"
