"""The bias on the call token that best separates "a tool fits" from "none fits". Pure.

A margin is the logit of the call token minus the largest other logit where an answer begins; greedily decoded with
``bias`` added to that logit, the model calls when margin + bias > 0.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise

from evolver.adapter_files import Calibration

FEWEST_ROWS = 8
"""Of each side; below, no bias is better than a guessed one."""


def calibrate(token_id: int, call: Sequence[float], no_call: Sequence[float]) -> Calibration | None:
    """The bias with the best balanced accuracy, in the middle of its interval; None with too few rows.

    ``call`` and ``no_call`` are the margins of validation rows that should and should not call. Of several best
    intervals the one nearest to zero bias wins.
    """
    if min(len(call), len(no_call)) < FEWEST_ROWS:
        return None
    yes, no = sorted(call), sorted(no_call)
    edges = sorted({*yes, *no})
    cuts = [edges[0] - 1, *((a + b) / 2 for a, b in pairwise(edges)), edges[-1] + 1]
    best = max(cuts, key=lambda cut: (round(_balanced(yes, no, cut), 12), -abs(cut)))
    return Calibration(
        token_id=token_id,
        bias=-best,
        auc=auc(yes, no),
        call_accuracy=1 - bisect_right(yes, best) / len(yes),
        no_call_accuracy=bisect_right(no, best) / len(no),
        n_call=len(yes),
        n_no_call=len(no),
    )


def _balanced(yes: Sequence[float], no: Sequence[float], cut: float) -> float:
    return (1 - bisect_right(yes, cut) / len(yes) + bisect_right(no, cut) / len(no)) / 2


def auc(yes: Sequence[float], no: Sequence[float]) -> float:
    """The chance that a margin of ``yes`` is above one of ``no`` (both sorted); ties count half."""
    wins = sum(bisect_left(no, margin) + bisect_right(no, margin) for margin in yes)
    return wins / (2 * len(yes) * len(no))
