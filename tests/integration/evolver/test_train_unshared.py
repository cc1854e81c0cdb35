"""Models that mix tokens otherwise than by attention learn each lesson alone, and no less right."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    GptOssConfig,
    Lfm2Config,
    Llama4TextConfig,
    LlamaConfig,
    Mamba2Config,
    MistralConfig,
    PreTrainedConfig,
)

from evolver.training import sharing, tree_attention
from evolver.training.prefix_tree import NEVER, TokenizedLesson, pack, plan
from evolver.training.sharing import why_not_shared
from evolver.training.step import score_each_alone
from tests.fakes.tiny_training import make_dataset, make_model, run

torch.set_num_threads(1)

SHAPE = {
    "vocab_size": 101,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
CONV = {"layer_types": ["conv", "full_attention"]}
STATE = {"num_heads": 8, "head_dim": 8, "state_size": 8, "n_groups": 1, "chunk_size": 16}
CONFIGS: dict[str, tuple[Callable[[], PreTrainedConfig], str | None]] = {
    "llama": (lambda: LlamaConfig(**SHAPE), None),
    "mistral, window": (lambda: MistralConfig(**SHAPE, sliding_window=8), None),
    "lfm2": (lambda: Lfm2Config(**SHAPE, **CONV), "otherwise than by attention"),
    "mamba2": (lambda: Mamba2Config(vocab_size=101, hidden_size=32, num_hidden_layers=2, **STATE), "otherwise than"),
    "gpt-oss": (lambda: GptOssConfig(**SHAPE, head_dim=8, num_local_experts=4), "attention sinks"),
    "llama 4, chunks": (
        lambda: Llama4TextConfig(**SHAPE, head_dim=8, attention_chunk_size=8, num_local_experts=2),
        "a shared prefix changes its answers",
    ),
}


def _model(name: str) -> Any:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return AutoModelForCausalLM.from_config(CONFIGS[name][0](), dtype=torch.float32).eval()


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_share_is_told_apart(name: str) -> None:
    model = _model(name)
    reason = why_not_shared(model, 40)
    expected = CONFIGS[name][1]
    if expected is None:
        assert reason is None
        assert model.config._attn_implementation == tree_attention.NAME
    else:
        assert reason is not None
        assert expected in reason
        assert model.config._attn_implementation != tree_attention.NAME


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_16_bits_the_trial_computes_in_fp32_and_leaves_every_number_as_it_was(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    model = _model("llama").to(dtype)
    model.lm_head.float()  # as a LoRA in fp32 beside a base in 16 bits
    before = {name: value.clone() for name, value in model.state_dict().items()}
    seen: set[torch.dtype] = set()
    distance = sharing._distance

    def noted(found: torch.Tensor, expected: torch.Tensor) -> float:
        seen.update(parameter.dtype for parameter in model.parameters())
        return distance(found, expected)

    monkeypatch.setattr(sharing, "_distance", noted)
    assert why_not_shared(model, 40) is None
    assert seen == {torch.float32}
    assert {name: value.dtype for name, value in model.state_dict().items()} == {n: v.dtype for n, v in before.items()}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_where_fp32_does_not_fit_the_trial_is_a_rough_one(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model("llama").to(torch.bfloat16)
    tried = sharing._tried

    def short(model: Any, tries: Any) -> str | None:
        if model.dtype == torch.float32:
            raise MemoryError
        return tried(model, tries)

    monkeypatch.setattr(sharing, "_tried", short)
    assert why_not_shared(model, 40) is None
    assert model.dtype == torch.bfloat16


def test_a_window_that_attention_does_not_hear_of_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model("mistral, window")
    original = tree_attention.attend

    def deaf(*arguments: Any, **options: Any) -> Any:
        return original(*arguments, **{**options, "sliding_window": None})

    from transformers import AttentionInterface

    monkeypatch.setitem(AttentionInterface._global_mapping, tree_attention.NAME, deaf)
    reason = why_not_shared(model, 40)
    assert reason is not None
    assert "a shared prefix changes its answers" in reason


@pytest.mark.filterwarnings("ignore")
def test_each_lesson_alone_has_its_own_loss() -> None:
    model = _model("lfm2")
    prefix = tuple(range(5, 45))
    lessons = [TokenizedLesson(str(i), (*prefix, 50 + i, 60, 70 - i), (41, 42), 1.0 + i) for i in range(5)]
    packs = plan(lessons, range(5), 100, 0, min_gain=NEVER)
    assert len(packs) > 1, "each lesson counts with all its tokens"
    for members in packs:
        packed = pack(lessons, members, min_gain=NEVER)
        assert len(packed.tokens) == packed.plain_tokens
        found = score_each_alone(model, packed).loss
        expected = torch.zeros(())
        for number in members:
            tokens = torch.tensor(lessons[number].tokens)
            logits = model(input_ids=tokens[None], use_cache=False).logits[0]
            targets = torch.tensor(lessons[number].targets)
            losses = nn.functional.cross_entropy(logits[targets - 1], tokens[targets], reduction="sum")
            expected = expected + lessons[number].weight * losses
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_a_model_with_convolutions_is_trained_and_says_why_it_is_slower(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model", Lfm2Config, **CONV)
    events: list[dict[str, Any]] = []
    data = make_dataset(tmp_path)
    targets = ("q_proj", "k_proj", "v_proj", "w1", "w2", "w3")
    manifest = run(data, model, tmp_path / "adapter-0001", events.append, targets=targets, epochs=3)
    (loaded,) = [event for event in events if event["event"] == "loaded"]
    assert "conv" in loaded["unshared"]
    assert manifest.environment is not None
    assert manifest.environment.unshared == loaded["unshared"]
    assert manifest.metrics.tokens_saved == 0
    assert manifest.metrics.loss_last < manifest.metrics.loss_first - 0.5
