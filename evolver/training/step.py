"""One forward pass over a pack, and its loss."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from evolver.training.loss import weighted_cross_entropy
from evolver.training.prefix_tree import Pack
from evolver.training.tree_attention import layout


@dataclass(frozen=True, slots=True)
class Scored:
    """``loss``: sum of weight times cross entropy; ``logits`` (predictors, vocabulary)."""

    loss: Tensor
    logits: Tensor


def score(model: nn.Module, pack: Pack) -> Scored:
    """Run ``pack`` in one pass through ``model``, whose attention implementation is ``tree_attention.NAME``."""
    device = next(model.parameters()).device
    logits = model(
        input_ids=torch.tensor([pack.tokens], device=device),
        position_ids=torch.tensor([pack.positions], device=device),
        logits_to_keep=torch.tensor(pack.predictors, device=device),
        use_cache=False,
        prefix_tree=layout(pack, device),
    ).logits[0]
    return _scored(logits, pack)


def score_each_alone(model: nn.Module, pack: Pack) -> Scored:
    """Score with any causal ``model``, node by node. ``pack`` must share nothing (``min_gain`` NEVER)."""
    device = next(model.parameters()).device
    parts = []
    for node in pack.nodes:
        kept = [place - node.start for place in pack.predictors if node.start <= place < node.end]
        parts.append(
            model(
                input_ids=torch.tensor([pack.tokens[node.start : node.end]], device=device),
                logits_to_keep=torch.tensor(kept, device=device),
                use_cache=False,
            ).logits[0]
        )
    return _scored(torch.cat(parts), pack)


def _scored(logits: Tensor, pack: Pack) -> Scored:
    slots, tokens, weights = zip(*pack.targets, strict=True)
    loss = weighted_cross_entropy(
        logits,
        torch.tensor(slots, device=logits.device),
        torch.tensor(tokens, device=logits.device),
        torch.tensor(weights, dtype=torch.float32, device=logits.device),
    )
    return Scored(loss, logits.detach())
