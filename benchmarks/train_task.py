"""What the trainers of benchmarks/train.py are given, and the clock that times them."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from evolver.training.prefix_tree import TokenizedLesson

EVALUATED = 2
OWN_TOKENS, TARGETS = 60, 30
WORDS = range(100, 2000)
OWN_WORDS = range(100, 300)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True, slots=True)
class Task:
    """``traces`` over so many contexts of so many tokens. ``budget``: tokens computed at once, for every trainer;
    ``per_step``: traces that one optimiser step learns from; ``rate``: of learning, at its peak."""

    contexts: int
    prefix: int
    budget: int
    per_step: int
    traces: int = 256
    rate: float = 0.0

    @property
    def length(self) -> int:
        """Tokens of a trace."""
        return self.prefix + OWN_TOKENS

    @property
    def together(self) -> int:
        """Traces that fit the budget when nothing is shared."""
        return self.budget // self.length


TASKS = {"i": Task(8, 400, 920, 8), "ii": Task(1, 3000, 4920, 32), "iii": Task(256, 400, 920, 8)}


def traces_of(task: Task) -> tuple[list[TokenizedLesson], list[TokenizedLesson]]:
    """What is trained on, and the evaluation batch: other traces over the same contexts. Random tokens; each trace ends
    in tokens of its own from few words, so that there is something to learn."""
    generator = random.Random(0)
    prefixes = [generator.choices(WORDS, k=task.prefix) for _ in range(task.contexts)]

    def trace(context: int) -> TokenizedLesson:
        tokens = (*prefixes[context], *generator.choices(OWN_WORDS, k=OWN_TOKENS))
        return TokenizedLesson(str(context), tokens, tuple(range(len(tokens) - TARGETS, len(tokens))))

    taught = [trace(number * task.contexts // task.traces) for number in range(task.traces)]
    return taught, [trace(number % task.contexts) for number in range(EVALUATED)]


class Over(Exception):
    """The measurement has what it needs."""


class Clock:
    """Times what follows the first pass, for ``seconds`` at least. Off the clock it takes the loss of the evaluation
    batch, before training and after ``loss_steps`` optimiser steps; 0: never."""

    def __init__(self, seconds: float, loss_steps: int) -> None:
        self._seconds, self._loss_steps, self._steps, self._began = seconds, loss_steps, 0, 0.0
        self.traces, self.tokens, self.took = 0, 0, 0.0
        self.loss_before: float | None = None
        self.loss_after: float | None = None

    def before(self, evaluate: Callable[[], float]) -> None:
        """Before anything is learned."""
        if self._loss_steps:
            self.loss_before = evaluate()

    def tick(self, traces: int, tokens: int, evaluate: Callable[[], float] | None = None) -> None:
        """After each pass forward and back; with ``evaluate`` if an optimiser step followed. Raises Over."""
        now = now_seconds()
        if self._began:
            self.traces, self.tokens, self.took = self.traces + traces, self.tokens + tokens, now - self._began
        else:
            self._began = now
        if evaluate is not None:
            self._steps += 1
            if self._steps == self._loss_steps:
                self.loss_after = evaluate()
                self._began += now_seconds() - now
        if self.took >= self._seconds and self.traces and self._steps >= self._loss_steps:
            raise Over


def now_seconds() -> float:
    """When all work that was begun is done."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
