"""Log-probabilities of a fixed text under the trained model, by which served_weights.py knows the served adapter."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from peft.tuners.lora import LoraLayer
from transformers import PreTrainedTokenizerBase

from agent.adapters.manifest import Probe
from agent.models.profile import EMBEDDED, ModelProfile
from evolver.training.model import Adapted
from evolver.training.prefix_tree import TokenizedLesson, pack

TEXT = (
    "Please add 17 and 25 for me.\n"
    '<tool_call>\n{"name": "calculate", "arguments": {"expression": "17 + 25"}}\n</tool_call>\n'
    "17 and 25 add up to 42. The capital of France is Paris, and bread is made of flour, water, salt and yeast."
)


def take_probe(adapted: Adapted, tokenizer: PreTrainedTokenizerBase, profile: ModelProfile = EMBEDDED) -> Probe:
    """Run two forward passes over TEXT, with the adapter and without; the model is left as it was.

    TEXT begins with the BOS token if the model needs one: without it, the log-probabilities mean nothing.
    """
    return probe_tokens(adapted, tokenizer.encode(profile.tokens_of(TEXT), add_special_tokens=False))


def probe_tokens(adapted: Adapted, tokens: list[int]) -> Probe:
    """Probe ``tokens`` as ``take_probe`` does."""
    training = adapted.peft.training
    adapted.peft.eval()
    with_adapter = _logprobs(adapted, tokens)
    with _without_adapter(adapted):
        without = _logprobs(adapted, tokens)
    adapted.peft.train(training)
    return Probe(tokens=tuple(tokens), logprobs=with_adapter, base_logprobs=without)


@contextmanager
def _without_adapter(adapted: Adapted) -> Iterator[None]:
    """Scaled to nothing: the short way of lora_linear does not see PEFT's own switch."""
    layers = [layer for layer in adapted.peft.modules() if isinstance(layer, LoraLayer)]
    kept = [dict(layer.scaling) for layer in layers]
    for layer in layers:
        layer.scaling.update(dict.fromkeys(layer.scaling, 0.0))
    try:
        yield
    finally:
        for layer, scaling in zip(layers, kept, strict=True):
            layer.scaling.update(scaling)


@torch.no_grad()
def _logprobs(adapted: Adapted, tokens: list[int]) -> tuple[float, ...]:
    lesson = TokenizedLesson(id="probe", tokens=tuple(tokens), targets=tuple(range(1, len(tokens))))
    logits = adapted.score(pack([lesson], [0], min_gain=adapted.min_gain)).logits.float()
    return tuple(torch.log_softmax(logits, -1)[range(len(tokens) - 1), tokens[1:]].tolist())
