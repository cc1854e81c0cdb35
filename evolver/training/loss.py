"""Loss at the target positions only: cross entropy, in one node that keeps no fp32 copy of the logits, and a pairwise
term where a rejected answer parts from the right one."""

from typing import Any

import torch
from torch import Tensor

ROWS_AT_ONCE = 64


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, slots: Tensor, tokens: Tensor, weights: Tensor) -> Tensor:
        per_slot = torch.zeros(logits.shape[0], dtype=torch.float32, device=logits.device).index_add_(0, slots, weights)
        picked = logits[slots, tokens].float()
        total = -(picked * weights).sum()
        gradient = torch.empty_like(logits)
        for begin in range(0, logits.shape[0], ROWS_AT_ONCE):
            rows = slice(begin, begin + ROWS_AT_ONCE)
            part = logits[rows].to(torch.float32, copy=True)  # logits that are float32 already must stay as they are
            log_sum = part.logsumexp(-1)
            total += (log_sum * per_slot[rows]).sum()
            gradient[rows] = part.sub_(log_sum[:, None]).exp_().mul_(per_slot[rows, None])
        gradient.index_put_((slots, tokens), -weights.to(gradient.dtype), accumulate=True)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad_outputs[0].to(gradient.dtype), None, None, None


def weighted_cross_entropy(logits: Tensor, slots: Tensor, tokens: Tensor, weights: Tensor) -> Tensor:
    """Sum over targets of weight times cross entropy. logits (slots, vocabulary); the others (targets,); fp32."""
    return _CrossEntropy.apply(logits, slots, tokens, weights)


def pairwise(logits: Tensor, slots: Tensor, tokens: Tensor, rejected: Tensor, weights: Tensor) -> Tensor:
    """Sum over pairs of weight times -log sigmoid(log p(token) - log p(rejected)). logits (slots, vocabulary); the
    others (pairs,); fp32.

    Both answers have read the same so far, so that one row of logits holds both probabilities.
    """
    margins = logits[slots, tokens].float() - logits[slots, rejected].float()
    return -(torch.nn.functional.logsigmoid(margins) * weights).sum()
