"""Loss on held-out lessons, and the margins from which the call bias is chosen."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from evolver.training.calibration import Margin
from evolver.training.model import Adapted
from evolver.training.prefix_tree import TokenizedLesson, pack, plan


@dataclass(slots=True)
class Validation:
    """``loss`` in nats per target token; ``margins`` of the lessons that have a decision."""

    loss: float
    margins: list[Margin] = field(default_factory=list)


@torch.no_grad()
def validate(
    adapted: Adapted, lessons: Sequence[TokenizedLesson], budget: int, call_token: int | None = None
) -> Validation | None:
    """Run ``lessons`` without gradients; None if there are none. The adapter's dropout is off meanwhile.

    Margins are taken for ``call_token``, if it is given.
    """
    if not lessons:
        return None
    adapted.peft.eval()
    result, weight = Validation(0.0), 0.0
    for members in plan(lessons, range(len(lessons)), budget, seed=0, min_gain=adapted.min_gain):
        part = pack(lessons, members, min_gain=adapted.min_gain)
        scored = adapted.score(part)
        result.loss += scored.loss.item()
        weight += part.weight
        for number, slot in part.first_slots.items():
            lesson = lessons[number]
            if lesson.decision is not None and call_token is not None:
                margin = _margin(scored.logits[slot].float(), call_token)
                result.margins.append(Margin(lesson.decision, margin, lesson.candidate))
    adapted.peft.train()
    result.loss /= weight
    return result


def _margin(logits: torch.Tensor, token: int) -> float:
    others = logits.clone()
    others[token] = float("-inf")
    return (logits[token] - others.max()).item()
