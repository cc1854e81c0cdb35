"""Attention over a packed prefix tree, for every transformers model with the attention interface.

The nodes below one parent form families of similar length. A family attends to the tokens above it (one product,
shared by all its members) and causally to its own node, under one softmax, so the result is that of running each
sequence alone. No mask of the whole pack is ever made.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import AttentionInterface

from evolver.training.prefix_tree import Node, Pack

NAME = "apprentice_prefix_tree"
PADDING_SHARE = 0.15
"""A family may compute at most this share of its rows in vain."""


@dataclass(frozen=True, slots=True)
class Family:
    """``count`` nodes padded to ``length``. ``rows``: places (count * length); ``above``: places of the shared path."""

    count: int
    length: int
    rows: Tensor
    above: Tensor | None
    later: Tensor
    """(length, 1, length), true where the key comes after the query."""
    distance_above: Tensor | None
    """(count * length, 1, path), positions of query minus key; None without a path."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A pack's tree as index tensors. ``order`` takes the rows of all families, one after another, to packed places."""

    families: tuple[Family, ...]
    order: Tensor


def layout(pack: Pack, device: torch.device) -> Layout:
    siblings: dict[int, list[Node]] = {}
    for node in pack.nodes:
        siblings.setdefault(node.parent, []).append(node)
    families, sources, offset = [], torch.empty(len(pack.tokens), dtype=torch.long), 0
    for parent, nodes in siblings.items():
        path = _path(pack.nodes, parent)
        for members in _similar(nodes):
            family = _family(members, path, pack.positions, device)
            families.append(family)
            for i, node in enumerate(members):
                begin = offset + i * family.length
                sources[node.start : node.end] = torch.arange(begin, begin + node.end - node.start)
            offset += family.count * family.length
    return Layout(tuple(families), sources.to(device))


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
    rows = [min(node.start + i, node.end - 1) for node in members for i in range(length)]
    above = torch.tensor(path, device=device) if path else None
    distance = None
    if path:
        place = torch.tensor(positions, device=device)
        distance = place[torch.tensor(rows, device=device)][:, None, None] - place[above]
    later = torch.ones(length, length, dtype=torch.bool, device=device).triu(1)[:, None, :]
    return Family(len(members), length, torch.tensor(rows, device=device), above, later, distance)


class TreeAttention(threading.local):
    """The attention function that the model calls; each thread sets ``current`` before its forward pass."""

    current: Layout | None = None

    def __call__(
        self,
        module: torch.nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        dropout: float = 0.0,
        sliding_window: int | None = None,
        softcap: float | None = None,
        **unused: object,
    ) -> tuple[Tensor, None]:
        """query (1, heads, tokens, size), key and value (1, kv heads, tokens, size) -> (1, tokens, heads, size)."""
        del module, attention_mask, dropout
        if self.current is None or query.shape[0] != 1:
            raise RuntimeError("a forward pass without a layout")
        if unused.get("s_aux") is not None:
            raise NotImplementedError("attention sinks")
        groups = query.shape[1] // key.shape[1]
        query = query[0].unflatten(0, (key.shape[1], groups)).permute(2, 0, 1, 3)
        query = query * (query.shape[-1] ** -0.5 if scaling is None else scaling)
        key, value = key[0].transpose(0, 1), value[0].transpose(0, 1)
        parts = [_attend(query, key, value, family, sliding_window, softcap) for family in self.current.families]
        rows = parts[0] if len(parts) == 1 else torch.cat(parts)
        return rows.index_select(0, self.current.order).flatten(1, 2)[None], None


def _attend(
    query: Tensor, key: Tensor, value: Tensor, family: Family, window: int | None, softcap: float | None
) -> Tensor:
    """query (tokens, kv, groups, size), key, value (tokens, kv, size) -> (count * length, kv, groups, size)."""
    kv, groups, size = query.shape[1:]
    count, length = family.count, family.length
    q = query.index_select(0, family.rows).transpose(0, 1).reshape(kv, count * length * groups, size)
    k = key.index_select(0, family.rows).transpose(0, 1).reshape(kv * count, length, size)
    v = value.index_select(0, family.rows).transpose(0, 1).reshape(kv * count, length, size)
    own = _capped(q.view(kv * count, length * groups, size) @ k.transpose(1, 2), softcap)
    later = family.later
    if window is not None and length > window:
        later = later | later.new_ones(length, length).tril(-window)[:, None, :]
    own = own.view(kv * count, length, groups, length).masked_fill(later, float("-inf"))
    scores = own.view(kv, count * length * groups, length)
    if family.above is None or family.distance_above is None:
        weights = torch.softmax(scores, -1).view(kv * count, length * groups, length)
        out = (weights @ v).view(kv, count * length, groups, size)
        return out.transpose(0, 1)
    above = _capped(q @ key.index_select(0, family.above).permute(1, 2, 0), softcap)
    if window is not None:
        hidden = family.distance_above >= window
        above = above.view(kv, count * length, groups, -1).masked_fill(hidden, float("-inf")).view_as(above)
    weights = torch.softmax(torch.cat((above, scores), -1), -1)
    path = above.shape[-1]
    out = weights[..., :path] @ value.index_select(0, family.above).transpose(0, 1)
    mine = weights[..., path:].reshape(kv * count, length * groups, length) @ v
    return (out + mine.view_as(out)).view(kv, count * length, groups, size).transpose(0, 1)


def _capped(scores: Tensor, softcap: float | None) -> Tensor:
    return scores if softcap is None else softcap * torch.tanh(scores / softcap)


TREE_ATTENTION = TreeAttention()
AttentionInterface.register(NAME, TREE_ATTENTION)
