"""Schedule of a run: the lessons of each step, and the learning rate. Pure."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Literal

from evolver.training.prefix_tree import MIN_GAIN, TokenizedLesson, plan

MEASURED_STEPS = 8
"""A time budget is judged by the latest steps."""
EXPLODED = 3.0
"""Nats that the mean of the latest steps may lie above the best mean before it; in the first steps, that the latest
may lie above the first."""
_WINDOW = 5


def packs_of_epochs(
    lessons: Sequence[TokenizedLesson], epochs: int, budget: int, seed: int, *, min_gain: int = MIN_GAIN
) -> list[list[int]]:
    """Return the packs of all epochs in order; every epoch meets every lesson once."""
    members = range(len(lessons))
    return [
        pack
        for epoch in range(epochs)
        for pack in plan(lessons, members, budget, seed * 1_000_003 + epoch, min_gain=min_gain)
    ]


def halve(packs: Sequence[list[int]], lessons: Sequence[TokenizedLesson]) -> list[list[int]]:
    """Cut each pack in two between lessons that share little; a pack of one lesson stays."""
    halves = []
    for members in packs:
        order = sorted(members, key=lambda i: lessons[i].input)
        middle = (len(order) + 1) // 2
        halves.extend(part for part in (order[:middle], order[middle:]) if part)
    return halves


def deal(packs: Sequence[list[int]], lessons: Sequence[TokenizedLesson], processes: int) -> list[list[list[int]]]:
    """Deal one step's packs evenly to the processes; packs are halved until there is one for each.

    A process gets none if there are fewer lessons than processes.
    """
    if processes == 1:
        return [list(packs)]
    ready = sorted(packs, key=len)
    while len(ready) < processes and len(ready[-1]) > 1:
        ready = sorted([*ready[:-1], *halve(ready[-1:], lessons)], key=len)
    shares: list[list[list[int]]] = [[] for _ in range(processes)]
    loads = [0] * processes
    for members in reversed(ready):
        lightest = loads.index(min(loads))
        shares[lightest].append(members)
        loads[lightest] += sum(len(lessons[i].input) for i in members)
    return shares


def step_seed(seed: int, step: int, process: int) -> int:
    """Return the seed of dropout in a step: the same whether or not the run was cut off before it."""
    return ((seed * 1_000_003 + step) * 1_009 + process) % 2**63


def affordable_steps(done: int, planned: int, seconds_left: float, latest: Sequence[float]) -> int:
    """Return the number of steps of the whole run that fit the time left, at most ``planned``. ``latest``: seconds of
    recent steps."""
    if math.isinf(seconds_left) or len(latest) < MEASURED_STEPS // 2:
        return planned
    return min(planned, done + max(0, int(seconds_left / median(latest[-MEASURED_STEPS:]))))


def learning_rate_factor(step: int, total: int, warmup: int, decay: Literal["linear", "cosine"]) -> float:
    """Return the share of the peak learning rate in step ``step`` of ``total`` (from 0): up over ``warmup``, then
    down."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    left = max(0.0, (total - step) / max(1, total - warmup))
    return left if decay == "linear" else (1 - math.cos(math.pi * min(1.0, left))) / 2


def why_lost(losses: Sequence[float]) -> str | None:
    """Return the reason to end a run with these losses; None while it is worth going on."""
    if not math.isfinite(losses[-1]):
        return f"the loss is {losses[-1]}"
    if len(losses) < 2 * _WINDOW:
        rose = losses[-1] > losses[0] + EXPLODED
        return f"the loss rose from {losses[0]:.2f} to {losses[-1]:.2f}" if rose else None
    recent = sum(losses[-_WINDOW:]) / _WINDOW
    best = min(sum(losses[i : i + _WINDOW]) / _WINDOW for i in range(len(losses) - _WINDOW))
    return f"the loss rose from {best:.2f} to {recent:.2f}" if recent > best + EXPLODED else None
