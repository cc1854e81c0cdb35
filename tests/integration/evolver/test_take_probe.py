"""The trainer's probe is what PEFT itself computes, with the adapter and without, and leaves the model as it was."""

import random

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig

from evolver.training import tree_attention
from evolver.training.model import Adapted
from evolver.training.probe import probe_tokens

TOKENS = [random.Random(0).randrange(64) for _ in range(30)]
CONFIG = LlamaConfig(
    vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, use_cache=False
)


def plain_logprobs(model: "torch.nn.Module") -> list[float]:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([TOKENS])).logits[0, :-1].float()
    return torch.log_softmax(logits, -1)[range(len(TOKENS) - 1), TOKENS[1:]].tolist()


def test_the_probe_is_what_peft_computes() -> None:
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_config(CONFIG, attn_implementation=tree_attention.NAME)
    plain = AutoModelForCausalLM.from_config(CONFIG, attn_implementation="eager")
    plain.load_state_dict(base.state_dict())
    lora = LoraConfig(r=8, target_modules="all-linear", init_lora_weights=False)
    peft, reference = get_peft_model(base, lora), get_peft_model(plain, lora)
    reference.load_state_dict(peft.state_dict())
    adapted = Adapted(peft, None)
    for _ in range(2):
        probe = probe_tokens(adapted, TOKENS)
        assert probe.tokens == tuple(TOKENS)
        assert probe.logprobs == pytest.approx(plain_logprobs(reference.eval()), abs=1e-4)
        with reference.disable_adapter():
            assert probe.base_logprobs == pytest.approx(plain_logprobs(reference.eval()), abs=1e-4)
        assert max(abs(a - b) for a, b in zip(probe.logprobs, probe.base_logprobs, strict=True)) > 0.01
        assert peft.training
