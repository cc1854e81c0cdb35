"""One forward pass over a pack, and its loss."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from evolver.training import tree_attention
from evolver.training.loss import weighted_cross_entropy
from evolver.training.prefix_tree import Pack
from evolver.training.tree_attention import TREE_ATTENTION


@dataclass(frozen=True, slots=True)
class Scored:
    """``loss``: sum of weight times cross entropy; ``logits`` (predictors, vocabulary)."""

    loss: Tensor
    logits: Tensor


def score(model: nn.Module, pack: Pack) -> Scored:
    """Run ``pack`` through ``model``, whose attention implementation is ``tree_attention.NAME``."""
    device = next(model.parameters()).device
    TREE_ATTENTION.current = tree_attention.layout(pack, device)
    try:
        logits = model(
            input_ids=torch.tensor([pack.tokens], device=device),
            position_ids=torch.tensor([pack.positions], device=device),
            logits_to_keep=torch.tensor(pack.predictors, device=device),
            use_cache=False,
        ).logits[0]
    finally:
        TREE_ATTENTION.current = None
    slots, tokens, weights = zip(*pack.targets, strict=True)
    loss = weighted_cross_entropy(
        logits,
        torch.tensor(slots, device=device),
        torch.tensor(tokens, device=device),
        torch.tensor(weights, dtype=torch.float32, device=device),
    )
    return Scored(loss, logits.detach())
