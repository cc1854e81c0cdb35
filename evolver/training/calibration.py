"""The bias on the call token that best separates "a tool fits" from "none fits". Pure.

A margin is the logit of the call token minus the largest other logit where an answer begins; greedily decoded with
``bias`` added to that logit, the model calls when margin + bias > 0.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from agent.adapters.manifest import Calibration
from agent.turn.choice import JudgedTool

FEWEST_ROWS = 8
"""Minimum number of rows of each side; with fewer, no bias is better than a guessed one."""

_TRUST = 0.5
"""Share of a bias against calling that is kept, if it separates the validation rows as well as all of it. Validation
has the wording of training. People's calls have smaller margins, so the whole bias declines too many of them
(docs/decisions/0045)."""
_ROUNDS = 50
_RIDGE = 0.01
"""Keeps the slope finite where the sides do not overlap; small against any real slope."""


class Margin(NamedTuple):
    """A margin in nats, and the right ``decision``: "call" or "no_call".

    ``candidate``: of a tool that is judged alone, the request and the tool's points in the search.
    """

    decision: str
    margin: float
    candidate: tuple[str, float] | None = None


def deciding_margins(margins: Sequence[Margin]) -> dict[str, list[float]]:
    """Return the margins that decide in serving, by decision. Of a request's candidates, the best one counts."""
    found: dict[str, list[float]] = {"call": [], "no_call": []}
    best: dict[str, tuple[float, Margin]] = {}
    for one in margins:
        if one.candidate is None:
            found[one.decision].append(one.margin)
            continue
        request, points = one.candidate
        score = JudgedTool(name=request, margin=one.margin, search=points).score
        if request not in best or score > best[request][0]:
            best[request] = score, one
    for _, one in best.values():
        found[one.decision].append(one.margin)
    return found


def calibrate(token_id: int, call: Sequence[float], no_call: Sequence[float]) -> Calibration | None:
    """Fit the bias at which both decisions are equally likely, in nats, by Platt scaling (1999). Both sides weigh the
    same. A bias against calling is halved where that decides no worse. Return None with too few rows.

    A curve through all margins is steadier than the cut with the best accuracy, which a few dozen rows move far.
    """
    if min(len(call), len(no_call)) < FEWEST_ROWS:
        return None
    yes, no = sorted(call), sorted(no_call)
    slope, offset = _platt(yes, no)
    middle = (sum(yes) / len(yes) + sum(no) / len(no)) / 2
    cut = -offset / slope if slope > 0 else middle
    cut = min(max(cut, min(yes[0], no[0])), max(yes[-1], no[-1]))
    if cut > 0 and sum(_accuracies(yes, no, _TRUST * cut)) >= sum(_accuracies(yes, no, cut)):
        cut *= _TRUST
    call_accuracy, no_call_accuracy = _accuracies(yes, no, cut)
    return Calibration(
        token_id=token_id,
        bias=-cut,
        auc=auc(yes, no),
        call_accuracy=call_accuracy,
        no_call_accuracy=no_call_accuracy,
        n_call=len(yes),
        n_no_call=len(no),
    )


def _accuracies(yes: Sequence[float], no: Sequence[float], cut: float) -> tuple[float, float]:
    """Return the accuracies of calls, and of answers without one; both sorted."""
    return 1 - bisect_right(yes, cut) / len(yes), bisect_right(no, cut) / len(no)


def _platt(yes: Sequence[float], no: Sequence[float]) -> tuple[float, float]:
    """Return slope and offset of the logistic curve through the margins, by Newton's method."""
    points = [(x, 1.0, 1 / len(yes)) for x in yes] + [(x, 0.0, 1 / len(no)) for x in no]
    slope = offset = 0.0
    for _ in range(_ROUNDS):
        g_slope, g_offset = _RIDGE * slope, 0.0
        h_ss, h_so, h_oo = _RIDGE, 0.0, 1e-9
        for x, label, weight in points:
            p = 1 / (1 + math.exp(-max(-30.0, min(30.0, slope * x + offset))))
            g_slope += weight * (p - label) * x
            g_offset += weight * (p - label)
            curve = weight * p * (1 - p)
            h_ss, h_so, h_oo = h_ss + curve * x * x, h_so + curve * x, h_oo + curve
        determinant = h_ss * h_oo - h_so * h_so
        if determinant <= 0:
            break
        slope -= (h_oo * g_slope - h_so * g_offset) / determinant
        offset -= (h_ss * g_offset - h_so * g_slope) / determinant
    return slope, offset


def auc(yes: Sequence[float], no: Sequence[float]) -> float:
    """Return the chance that a margin of ``yes`` is above one of ``no`` (both sorted); ties count half."""
    wins = sum(bisect_left(no, margin) + bisect_right(no, margin) for margin in yes)
    return wins / (2 * len(yes) * len(no))
