"""Attention over a packed prefix tree, for every transformers model with the attention interface.

The nodes below one parent form families of similar length. A family attends to the tokens above it (one product,
shared by all its members) and causally to its own node, under one softmax, so the result is that of running each
sequence alone. No mask of the whole pack is ever made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface

from evolver.training.prefix_tree import Node, Pack

NAME = "apprentice_prefix_tree"
PADDING_SHARE = 0.15
"""A family may compute at most this share of its rows in vain."""

MOST_KEPT = 2**24
"""Attention weights that a layer keeps for the backward pass; of larger packs they are computed again there."""


@dataclass(frozen=True, slots=True)
class Family:
    """``count`` nodes padded to ``length``; places are indices into the pack."""

    count: int
    length: int
    rows: Tensor
    """(count * length), the place of every padded row; padding repeats a node's last place."""
    real: Tensor
    """The indices into ``rows`` that are no padding."""
    padding: Tensor
    above: Tensor
    """The places of the shared path."""
    later: Tensor
    """(length, 1, length), true where the key comes after the query."""
    distance: Tensor
    """(count * length, 1, path), position of the query minus position of the key above."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A pack's tree as index tensors."""

    families: tuple[Family, ...]

    def weights(self, heads: int) -> int:
        """Return the number of attention weights of a layer with ``heads`` heads."""
        return heads * sum(len(f.rows) * (len(f.above) + f.length) for f in self.families)


def layout(pack: Pack, device: torch.device) -> Layout:
    siblings: dict[int, list[Node]] = {}
    for node in pack.nodes:
        siblings.setdefault(node.parent, []).append(node)
    families = [
        _family(members, _path(pack.nodes, parent), pack.positions, device)
        for parent, nodes in siblings.items()
        for members in _similar(nodes)
    ]
    return Layout(tuple(families))


def _path(nodes: Sequence[Node], index: int) -> list[int]:
    ranges: list[range] = []
    while index >= 0:
        ranges.append(range(nodes[index].start, nodes[index].end))
        index = nodes[index].parent
    return [place for part in reversed(ranges) for place in part]


def _similar(nodes: Sequence[Node]) -> list[list[Node]]:
    """Divide siblings by length, so that padding them to the longest stays cheap."""
    groups: list[list[Node]] = []
    used = 0
    for node in sorted(nodes, key=lambda n: n.start - n.end):
        length = node.end - node.start
        if groups:
            longest = groups[-1][0].end - groups[-1][0].start
            if (len(groups[-1]) + 1) * longest * (1 - PADDING_SHARE) <= used + length:
                groups[-1].append(node)
                used += length
                continue
        groups.append([node])
        used = length
    return groups


def _family(members: Sequence[Node], path: list[int], positions: Sequence[int], device: torch.device) -> Family:
    length = members[0].end - members[0].start
    padded = [(node.start + i, node.end) for node in members for i in range(length)]
    rows = torch.tensor([min(place, end - 1) for place, end in padded], device=device)
    real = torch.tensor([place < end for place, end in padded], device=device)
    place = torch.tensor(positions, device=device)
    above = torch.tensor(path, dtype=torch.long, device=device)
    return Family(
        count=len(members),
        length=length,
        rows=rows,
        real=real.nonzero()[:, 0],
        padding=(~real).nonzero()[:, 0],
        above=above,
        later=torch.ones(length, length, dtype=torch.bool, device=device).triu(1)[:, None, :],
        distance=place[rows][:, None, None] - place[above],
    )


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    prefix_tree: Layout | None = None,
    **unused: object,
) -> tuple[Tensor, None]:
    """Attend as the model asks, with the ``prefix_tree`` that its own call was given.

    query (1, heads, tokens, size), key and value (1, kv heads, tokens, size) -> (1, tokens, heads, size).
    """
    del module, attention_mask, dropout
    if prefix_tree is None or query.shape[0] != 1:
        raise NotImplementedError("its layers do not hand the prefix tree to their attention")
    if unused.get("s_aux") is not None:
        raise NotImplementedError("it has attention sinks")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    query = query[0].unflatten(0, (key.shape[1], -1)).transpose(1, 2) * scale
    out = _Attend.apply(query, key[0], value[0], prefix_tree, sliding_window, softcap)
    return out.permute(1, 0, 2, 3).flatten(1, 2)[None], None


class _Attend(torch.autograd.Function):
    """query (kv, tokens, groups, size), key and value (kv, tokens, size) -> as query; all families at once."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, tree: Layout, window: int | None, softcap: float | None
    ) -> Tensor:
        query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
        out = torch.empty_like(query)
        kept: list[Tensor] = []
        keeps = tree.weights(query.shape[0] * query.shape[2]) <= MOST_KEPT
        for family in tree.families:
            above, own, slopes = _weights(query, key, family, window, softcap)
            v = _rows(value, family)
            part = (own @ v).view(query.shape[0], -1, *query.shape[2:])
            if len(family.above):
                part += (above @ value.index_select(1, family.above)).view_as(part)
            out.index_copy_(1, family.rows[family.real], part.index_select(1, family.real))
            kept += [above, own, *slopes] if keeps else []
        ctx.save_for_backward(query, key, value, out, *kept)
        ctx.tree, ctx.window, ctx.softcap = tree, window, softcap
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, out, *kept = ctx.saved_tensors
        grad_out = grad_outputs[0].contiguous()
        mean = (grad_out.float() * out).sum(-1, keepdim=True)
        grad_query = torch.empty_like(query)
        grad_key, grad_value = (torch.zeros(x.shape, dtype=torch.float32, device=x.device) for x in (key, value))
        size = 2 if ctx.softcap is None else 4
        for number, family in enumerate(ctx.tree.families):
            if kept:
                above, own, *slopes = kept[number * size : (number + 1) * size]
            else:
                above, own, slopes = _weights(query, key, family, ctx.window, ctx.softcap)
            q = query.index_select(1, family.rows)
            g = grad_out.index_select(1, family.rows).index_fill_(1, family.padding, 0)
            m = mean.index_select(1, family.rows).index_fill_(1, family.padding, 0)
            k, v, each_q, each_g = _rows(key, family), _rows(value, family), _each(q, family), _each(g, family)
            scores = _softmax_gradient(each_g @ v.transpose(1, 2), _each(m, family), own, slopes[1:])
            grad_q = (scores @ k).view_as(q)
            _add(grad_key, family, scores.transpose(1, 2) @ each_q)
            _add(grad_value, family, own.transpose(1, 2) @ each_g)
            if len(family.above):
                k, v, flat_q, flat_g = *(x.index_select(1, family.above) for x in (key, value)), *_flat(q, g)
                scores = _softmax_gradient(flat_g @ v.transpose(1, 2), m.flatten(1, 2), above, slopes[:1])
                grad_q += (scores @ k).view_as(q)
                grad_key.index_add_(1, family.above, (scores.transpose(1, 2) @ flat_q).float())
                grad_value.index_add_(1, family.above, (above.transpose(1, 2) @ flat_g).float())
            grad_query.index_copy_(1, family.rows[family.real], grad_q.index_select(1, family.real))
        return grad_query, grad_key.to(key.dtype), grad_value.to(value.dtype), None, None, None


def _softmax_gradient(grad: Tensor, mean: Tensor, weights: Tensor, slope: list[Tensor]) -> Tensor:
    """Write the gradient of the scores in place of ``grad``, that of the weights. ``mean`` is its mean under the
    weights."""
    grad.sub_(mean).mul_(weights)
    return grad.mul_(slope[0]) if slope else grad


def _add(total: Tensor, family: Family, part: Tensor) -> None:
    """Add (kv * count, length, size) to the real places of the family in ``total`` (kv, tokens, size)."""
    real = part.view(total.shape[0], -1, total.shape[2]).index_select(1, family.real)
    total.index_add_(1, family.rows[family.real], real.float())


def _flat(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(x.flatten(1, 2) for x in tensors)


def _rows(x: Tensor, family: Family) -> Tensor:
    """(kv, tokens, size) -> (kv * count, length, size)."""
    return x.index_select(1, family.rows).view(-1, family.length, x.shape[-1])


def _each(x: Tensor, family: Family) -> Tensor:
    """(kv, count * length, groups, size) -> (kv * count, length * groups, size)."""
    return x.view(x.shape[0] * family.count, -1, x.shape[-1])


def _weights(
    query: Tensor, key: Tensor, family: Family, window: int | None, softcap: float | None
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """One softmax over path and own node.

    Returns the weights above (kv, count * length * groups, path), those of the own node (kv * count, length * groups,
    length) and, with soft caps, the slope of each.
    """
    kv, _, groups, _ = query.shape
    q = query.index_select(1, family.rows)
    own = _each(q, family) @ _rows(key, family).transpose(1, 2)
    above = q.flatten(1, 2) @ key.index_select(1, family.above).transpose(1, 2)
    slopes: list[Tensor] = []
    if softcap is not None:
        (above, slope_above), (own, slope_own) = _capped(above, softcap), _capped(own, softcap)
        slopes = [slope_above, slope_own]
    later, length = family.later, family.length
    if window is not None:
        later = later | later.new_ones(length, length).tril(-window)[:, None, :]
    if window is not None and above.shape[-1]:
        above.view(kv, family.count * length, groups, -1).masked_fill_(family.distance >= window, float("-inf"))
    own.view(-1, length, groups, length).masked_fill_(later, float("-inf"))
    if above.shape[-1] == 0:
        return above, torch.softmax(own, -1), slopes
    both = torch.softmax(torch.cat((above, own.view(kv, -1, length)), -1), -1)
    path = above.shape[-1]
    return both[..., :path].contiguous(), both[..., path:].contiguous().view_as(own), slopes


def _capped(scores: Tensor, softcap: float) -> tuple[Tensor, Tensor]:
    bounded = torch.tanh(scores / softcap)
    return bounded * softcap, 1 - bounded * bounded


AttentionInterface.register(NAME, attend)
