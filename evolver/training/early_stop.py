"""Validation during training: the best weights are kept, and training ends when they improve no more.

Everything depends on how many lessons were seen, nothing on the clock: a run that was cut off and resumed validates at
the same steps.
"""

import random
from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from evolver.training.model import Adapted
from evolver.training.prefix_tree import TokenizedLesson, pack, plan
from evolver.training.team import Team
from evolver.training.validate import validate

COST = 0.25
"""Tokens validated per token trained, at most: a tenth of the time, for a pass without gradients takes 0.4 of one
with."""


class Standing(Protocol):
    """State of a run that early stopping needs, kept in its checkpoint. Losses are nats per target token."""

    step: int
    lessons_seen: int
    validations: int
    validated_step: int
    best_loss: float | None
    best_step: int
    worse: int


class EarlyStop:
    """Validates ``adapted`` every so many epochs; keeps the weights with the lowest loss in ``best``."""

    def __init__(
        self,
        adapted: Adapted,
        held_out: Sequence[TokenizedLesson],
        lessons: Sequence[TokenizedLesson],
        *,
        every_epochs: float,
        patience: int,
        budget: int,
        seed: int,
        team: Team,
    ) -> None:
        self._adapted, self._budget, self._team = adapted, budget, team
        self._every, self._patience = max(1.0, every_epochs * len(lessons)), patience
        self._sample: list[TokenizedLesson] = []
        if patience:
            packs = plan(lessons, range(len(lessons)), budget, seed, min_gain=adapted.min_gain)
            self._sample = self._chosen(held_out, _tokens(adapted, lessons, packs) * every_epochs * COST, seed)
        self.best: dict[str, Tensor] = {}

    def _chosen(self, held_out: Sequence[TokenizedLesson], tokens: float, seed: int) -> list[TokenizedLesson]:
        """Choose as many held-out lessons as ``tokens`` allow, the same ones in every validation."""
        packs = plan(held_out, range(len(held_out)), self._budget, seed, min_gain=self._adapted.min_gain)
        random.Random(seed).shuffle(packs)
        chosen: list[TokenizedLesson] = []
        for members in packs:
            tokens -= _tokens(self._adapted, held_out, [members])
            if tokens < 0 and chosen:
                break
            chosen.extend(held_out[i] for i in members)
        return chosen

    def ended(self, run: Standing) -> bool:
        """Return whether the latest validations were all worse than the best one."""
        return bool(self._sample) and run.worse >= self._patience

    def look(self, run: Standing, *, halvings: int, now: bool = False) -> float | None:
        """Validate if it is time, or ``now`` if this step did not yet. Return the loss, or None."""
        due = int(run.lessons_seen / self._every)
        if not self._sample or run.validated_step == run.step or (due <= run.validations and not now):
            return None
        run.validations, run.validated_step = max(due, run.validations), run.step
        found = validate(self._adapted, self._sample, max(1, self._budget >> halvings))
        assert found is not None
        loss = self._team.decision(found.loss)
        if run.best_loss is None or loss < run.best_loss:
            run.best_loss, run.best_step, run.worse = loss, run.step, 0
            self.best = {name: weight.detach().clone() for name, weight in self._adapted.weights.items()}
        else:
            run.worse += 1
        return loss

    def keep_best(self, run: Standing) -> bool:
        """Give the adapter its best weights. Return whether they differ from its last ones."""
        if not self.best or run.best_step == run.step:
            return False
        self._adapted.load_weights(self.best)
        return True


def _tokens(adapted: Adapted, lessons: Sequence[TokenizedLesson], packs: Sequence[Sequence[int]]) -> int:
    return sum(len(pack(lessons, members, min_gain=adapted.min_gain).tokens) for members in packs)
