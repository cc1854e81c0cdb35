"""One forward pass over a pack, and its loss."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from evolver.training.loss import pairwise, weighted_cross_entropy
from evolver.training.prefix_tree import Pack
from evolver.training.tree_attention import layout


@dataclass(frozen=True, slots=True)
class Scored:
    """``loss``: sum of weight times cross entropy, and the pairwise term of the rivals; ``logits`` (predictors,
    vocabulary)."""

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
    loss = weighted_cross_entropy(logits, *_columns(pack.targets, logits.device))
    if pack.rivals:
        loss = loss + pairwise(logits, *_columns(pack.rivals, logits.device))
    return Scored(loss, logits.detach())


def _columns(rows: Sequence[tuple[float, ...]], device: torch.device) -> tuple[Tensor, ...]:
    """Return the columns of ``rows``: integers, but for the last, which are weights."""
    *places, weights = zip(*rows, strict=True)
    return *(torch.tensor(place, device=device) for place in places), torch.tensor(
        weights, dtype=torch.float32, device=device
    )
