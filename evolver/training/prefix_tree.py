"""Token prefix trees: which lessons share which tokens, packed to a token budget. Pure: integers in, integers out.

A ``Pack`` is one forward pass. Its tokens are the nodes of a prefix tree in depth-first order, every shared prefix
once; ``positions`` are the places that the tokens have in their own sequences. A token may attend to the tokens of its
node before it and to all tokens of the nodes above.
"""

import heapq
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

MIN_GAIN = 24
"""Tokens that a shared node must save before it is worth a node of its own."""
NEVER = sys.maxsize
"""As ``min_gain``: every lesson is a tree of its own; only equal ones are computed once."""


@dataclass(frozen=True, slots=True)
class TokenizedLesson:
    """A tokenised row. ``targets`` are indices into ``tokens`` that carry loss, ascending, none of them 0.

    ``rivals`` are (index of a target, token, weight): where a rejected answer parts from this one, with what, and how
    much it counts against that. ``candidate``: the request for which its tool is judged alone, and the tool's points in
    the search.
    """

    id: str
    tokens: tuple[int, ...]
    targets: tuple[int, ...]
    weight: float = 1.0
    decision: str | None = None
    rivals: tuple[tuple[int, int, float], ...] = ()
    candidate: tuple[str, float] | None = None

    @property
    def input(self) -> tuple[int, ...]:
        """Tokens that the model must read to predict every target."""
        return self.tokens[: self.targets[-1]]


@dataclass(frozen=True, slots=True)
class Node:
    """Tokens ``start:end`` of a pack, the first at position ``depth``. ``parent`` is an index into the nodes, or -1."""

    start: int
    end: int
    depth: int
    parent: int


@dataclass(frozen=True, slots=True)
class Pack:
    """One forward pass.

    ``predictors`` are the packed places whose logits are needed; ``targets`` are (index into predictors, token,
    weight), where lessons that agree are added up; ``first_slots`` maps the number of a lesson in the sequence that was
    packed to the index into predictors that predicts its first target. ``plain_tokens`` is what running each lesson
    alone would compute. ``rivals`` are (index into predictors, token, rejected token, weight), added up likewise.
    """

    lessons: tuple[int, ...]
    tokens: tuple[int, ...]
    positions: tuple[int, ...]
    nodes: tuple[Node, ...]
    predictors: tuple[int, ...]
    targets: tuple[tuple[int, int, float], ...]
    first_slots: dict[int, int]
    plain_tokens: int
    rivals: tuple[tuple[int, int, int, float], ...] = ()

    @property
    def weight(self) -> float:
        return sum(weight for _, _, weight in self.targets)


def shared_length(left: Sequence[int], right: Sequence[int]) -> int:
    """Return the number of leading elements that are equal."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def pack(lessons: Sequence[TokenizedLesson], members: Sequence[int], *, min_gain: int = MIN_GAIN) -> Pack:
    """Lay out ``lessons[i] for i in members`` as one forward pass."""
    order = sorted(members, key=lambda i: lessons[i].input)
    nodes: list[Node] = []
    tokens: list[int] = []
    positions: list[int] = []
    leaf_of: dict[int, int] = {}
    stack = [(0, len(order), 0, -1)]
    while stack:
        low, high, depth, parent = stack.pop()
        first, last = lessons[order[low]].input, lessons[order[high - 1]].input
        common = shared_length(first, last)
        single = common == len(last)
        if single or (high - low - 1) * (common - depth) >= min_gain:
            if common > depth:
                nodes.append(Node(len(tokens), len(tokens) + common - depth, depth, parent))
                tokens.extend(first[depth:common])
                positions.extend(range(depth, common))
                parent, depth = len(nodes) - 1, common
            while low < high and len(lessons[order[low]].input) == common:
                leaf_of[order[low]] = parent
                low += 1
        stack.extend(reversed([(*part, depth, parent) for part in _parts(lessons, order, low, high, common)]))
    return _with_targets(lessons, order, nodes, tokens, positions, leaf_of)


def _parts(
    lessons: Sequence[TokenizedLesson], order: Sequence[int], low: int, high: int, at: int
) -> list[tuple[int, int]]:
    """Split the sorted range ``low:high`` by the token at place ``at``; sequences that end there come first."""
    parts: list[tuple[int, int]] = []
    start = low
    for i in range(low + 1, high + 1):
        if i == high or lessons[order[i]].input[at : at + 1] != lessons[order[start]].input[at : at + 1]:
            parts.append((start, i))
            start = i
    return parts


def _with_targets(
    lessons: Sequence[TokenizedLesson],
    order: Sequence[int],
    nodes: list[Node],
    tokens: list[int],
    positions: list[int],
    leaf_of: dict[int, int],
) -> Pack:
    weights: dict[tuple[int, int], float] = {}
    against: dict[tuple[int, int, int], float] = {}
    first_place: dict[int, int] = {}
    for number in order:
        lesson, node = lessons[number], leaf_of[number]
        for target in reversed(lesson.targets):
            while nodes[node].depth > target - 1:
                node = nodes[node].parent
            place = nodes[node].start + target - 1 - nodes[node].depth
            key = (place, lesson.tokens[target])
            weights[key] = weights.get(key, 0.0) + lesson.weight
            first_place[number] = place
            for _, rejected, weight in (rival for rival in lesson.rivals if rival[0] == target):
                against[(*key, rejected)] = against.get((*key, rejected), 0.0) + weight
    predictors = sorted({place for place, _ in weights})
    slot = {place: i for i, place in enumerate(predictors)}
    return Pack(
        lessons=tuple(sorted(order)),
        tokens=tuple(tokens),
        positions=tuple(positions),
        nodes=tuple(nodes),
        predictors=tuple(predictors),
        targets=tuple((slot[place], token, weight) for (place, token), weight in sorted(weights.items())),
        first_slots={number: slot[place] for number, place in first_place.items()},
        plain_tokens=sum(len(lessons[number].input) for number in order),
        rivals=tuple((slot[place], token, other, weight) for (place, token, other), weight in sorted(against.items())),
    )


@dataclass(slots=True)
class _Branch:
    """A node of the tree over all lessons. ``bundles``: lessons that stay together, and their tokens below the node."""

    depth: int
    end: int
    parent: int
    bundles: list[tuple[list[int], int]] = field(default_factory=list)


def plan(
    lessons: Sequence[TokenizedLesson], members: Sequence[int], budget: int, seed: int, *, min_gain: int = MIN_GAIN
) -> list[list[int]]:
    """Divide ``members`` into packs of about at most ``budget`` tokens that share as much as they can.

    Lessons below one node stay together while they fit, else they are divided evenly. Which of them meet, and the order
    of the packs, depend on ``seed``. A prefix that leaves little of the budget gets branches of half its length all the
    same: else each would compute it again. A lesson longer than the budget gets a pack of its own.
    """
    if not members:
        return []
    generator = random.Random(seed)
    branches = _branches(lessons, sorted(members, key=lambda i: lessons[i].input), min_gain)
    for branch in reversed(branches[1:]):
        length = branch.end - branch.depth
        bins = _divide(branch.bundles, max(1, budget - branch.end, branch.end // 2), generator)
        branches[branch.parent].bundles.extend((rows, cost + length) for rows, cost in bins)
    packs = [rows for rows, _ in _divide(branches[0].bundles, budget, generator)]
    generator.shuffle(packs)
    return packs


def _branches(lessons: Sequence[TokenizedLesson], order: Sequence[int], min_gain: int) -> list[_Branch]:
    branches = [_Branch(0, 0, -1)]
    stack = [(0, len(order), 0, 0)]
    while stack:
        low, high, depth, parent = stack.pop()
        first, last = lessons[order[low]].input, lessons[order[high - 1]].input
        common = shared_length(first, last)
        if common > depth and (common == len(last) or (high - low - 1) * (common - depth) >= min_gain):
            branches.append(_Branch(depth, common, parent))
            parent, depth = len(branches) - 1, common
        while low < high and len(lessons[order[low]].input) == common:
            branches[parent].bundles.append(([order[low]], common - depth))
            low += 1
        stack.extend((*part, depth, parent) for part in _parts(lessons, order, low, high, common))
    return branches


def _divide(
    bundles: list[tuple[list[int], int]], capacity: int, generator: random.Random
) -> list[tuple[list[int], int]]:
    """Spread bundles evenly over about as few bins of ``capacity`` as they need."""
    if not bundles:
        return []
    items = sorted(bundles, key=lambda item: -item[1] * generator.uniform(0.5, 1))
    limit = max(capacity, *(cost for _, cost in items))
    count = max(1, -(-sum(cost for _, cost in items) // capacity))
    while True:
        bins: list[list[int]] = [[] for _ in range(count)]
        loads = [(0, i) for i in range(count)]
        for rows, cost in items:
            load, lightest = loads[0]
            bins[lightest] += rows
            heapq.heapreplace(loads, (load + cost, lightest))
        if count >= len(items) or max(loads)[0] <= limit:
            return [(bins[i], load) for load, i in sorted(loads, key=lambda entry: entry[1]) if bins[i]]
        count += 1
