"""Check that a model may compute a shared prefix once: by its parts, then on the model itself.

State spaces, linear attention and convolutions carry what they read from one branch of a packed tree into the next;
some attention needs what a tree cannot give it. Such a model answers a pack otherwise than each lesson alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from evolver.training import tree_attention
from evolver.training.memory import is_out_of_memory
from evolver.training.prefix_tree import NEVER, TokenizedLesson, pack
from evolver.training.step import score, score_each_alone

TOLERANCE = {torch.float32: 1e-3}
ROUGH_TOLERANCE = 0.25
"""Tolerance in 16 bits, as a share of the logits' spread. Rounding alone moved them by 11 % (SmolLM2-135M in bf16 on an
AMD EPYC)."""

_PREFIX, _BRANCH, _BRANCHES = 16, 4, 3
_ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}
_LENGTHS = ("sliding_window", "attention_chunk_size")


@torch.no_grad()
def why_not_shared(model: PreTrainedModel, longest: int, *, sharded: bool = False) -> str | None:
    """Switch ``model`` to tree attention if its logits stay those of each lesson alone, and return None.

    Otherwise leave its attention and return the reason. ``longest``: tokens of the longest lesson; a model that attends
    to fewer is also tried on a lesson of that length. The trial computes in fp32, unless the model is ``sharded`` or
    memory is short.
    """
    other = _other_mixing(model)
    if other is not None:
        return other
    config: Any = model.config.get_text_config()
    tries = [_tree(config.vocab_size)]
    if any(isinstance(limit := getattr(config, name, None), int) and limit < longest for name in _LENGTHS):
        tries.append([TokenizedLesson("long", _tokens(config.vocab_size, longest), (longest - 1,))])
    if not sharded:
        try:
            with _in_fp32(model):
                return _tried(model, tries)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
    return _tried(model, tries)


def _tried(model: PreTrainedModel, tries: list[list[TokenizedLesson]]) -> str | None:
    own = model.config._attn_implementation or "eager"
    expected = [_alone(model, lessons) for lessons in tries]
    try:
        model.set_attn_implementation(tree_attention.NAME)
        if model.config._attn_implementation != tree_attention.NAME:
            return "its attention cannot be replaced"
        found = [_together(model, lessons) for lessons in tries]
    except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        model.set_attn_implementation(own)
        if is_out_of_memory(error):
            raise
        return (str(error).splitlines() or [type(error).__name__])[0]
    tolerance = TOLERANCE.get(model.dtype, ROUGH_TOLERANCE)
    distance = max(_distance(a, b) for a, b in zip(found, expected, strict=True))
    if distance <= tolerance:
        return None
    model.set_attn_implementation(own)
    return f"a shared prefix changes its answers (its logits by {distance:.1%})"


@contextmanager
def _in_fp32(model: nn.Module) -> Iterator[None]:
    """The model with the same numbers in fp32; each is itself again afterwards."""
    rough = [t for t in chain(model.parameters(), model.buffers()) if t.dtype in (torch.bfloat16, torch.float16)]
    dtypes = [tensor.dtype for tensor in rough]
    try:
        for tensor in rough:
            tensor.data = tensor.data.float()
        yield
    finally:
        for tensor, dtype in zip(rough, dtypes, strict=True):
            tensor.data = tensor.data.to(dtype)


def _other_mixing(model: PreTrainedModel) -> str | None:
    """Judge by the model's parts. A leak may be too faint for a trial of a few tokens."""
    kinds = set(getattr(model.config.get_text_config(), "layer_types", None) or ()) - _ATTENTION
    if kinds:
        return f"it has layers that mix tokens otherwise than by attention ({', '.join(sorted(kinds))})"
    if getattr(model, "_is_stateful", False):
        return "it carries a state from token to token"
    if any(isinstance(part, nn.Conv1d) for part in model.modules()):
        return "it has convolutions"
    return None


def _tokens(vocabulary: int, count: int) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(count)
    return tuple(torch.randint(vocabulary, (count,), generator=generator).tolist())


def _tree(vocabulary: int) -> list[TokenizedLesson]:
    """Short branches: what a neighbour leaves behind has not faded at their ends."""
    tokens = _tokens(vocabulary, _PREFIX + _BRANCH * _BRANCHES)
    prefix, rest = tokens[:_PREFIX], tokens[_PREFIX:]
    parts = [rest[i * _BRANCH : (i + 1) * _BRANCH] for i in range(_BRANCHES)]
    return [TokenizedLesson(str(i), (*prefix, *part), (_PREFIX + _BRANCH - 1,)) for i, part in enumerate(parts)]


def _together(model: PreTrainedModel, lessons: list[TokenizedLesson]) -> Tensor:
    packed = pack(lessons, range(len(lessons)), min_gain=1)
    logits = score(model, packed).logits
    return torch.stack([logits[packed.first_slots[i]] for i in range(len(lessons))]).float()


def _alone(model: PreTrainedModel, lessons: list[TokenizedLesson]) -> Tensor:
    return torch.cat([score_each_alone(model, pack([one], [0], min_gain=NEVER)).logits for one in lessons]).float()


def _distance(found: Tensor, expected: Tensor) -> float:
    """The largest distance of a row, in units of the expected row's spread."""
    spread = expected - expected.mean(-1, keepdim=True)
    return ((found - expected).norm(dim=-1) / spread.norm(dim=-1)).nan_to_num(0.0).max().item()
