"""A candidate on trial with a share of the sessions: is it worse than what serves the others?

Wald's sequential test of two shares ("Sequential Analysis", 1947, chapter 6): sessions of both kinds are paired in the
order in which they began; only pairs in which one of the two had trouble tell anything, and in how many of those it was
the candidate's is tested against one half. It may be looked at after every session without spoiling its errors.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Literal

from agent.interaction_log import InteractionLog, first_id
from agent.messages import Interaction
from agent.serving import active_adapter
from agent.serving.active_adapter import Canary
from evolver.config import Config, ReleaseConfig
from evolver.ledger import Ledger
from evolver.turns import ASKS_AGAIN_SECONDS, troubles, whole_turns
from evolver.types import Frozen

_WITHDRAWS_A_GOOD_ONE = 0.05
_PROMOTES_A_BAD_ONE = 0.05
_MOST_SEEN = 50_000
_COUNTED_SECONDS = 600.0
"""So long after its first turn the turns of a session count: an outcome must not change once it was looked at."""


class Trial(Frozen):
    """How it stands. ``pairs`` of sessions, and in how many of them only the one or only the other had trouble."""

    adapter: str
    share: float
    verdict: Literal["undecided", "no worse", "worse"]
    pairs: int
    only_candidate: int
    only_current: int

    def __str__(self) -> str:
        return (
            f"{self.verdict} on trial: of {self.pairs} pairs of sessions only the one with {self.adapter} had trouble "
            f"in {self.only_candidate}, only the other in {self.only_current}"
        )


def standing(config: Config, ledger: Ledger, now: float) -> Trial | None:
    """How the adapter on trial does; None where none is. ``now`` in seconds since the epoch."""
    pointer = active_adapter.read(config.data_folder)
    if pointer.canary is None:
        return None
    began = next((change.at for change in ledger.releases()), now)  # any later change would have ended it
    with InteractionLog.open_readonly(config.data_folder / "interactions.db") as log:
        interactions = log.read(_MOST_SEEN, since_id=first_id(began))
    return judge(config.evolver.release, pointer.canary, pointer.name, interactions, began=began, now=now)


def judge(
    config: ReleaseConfig,
    canary: Canary,
    current: str,
    interactions: Sequence[Interaction],
    *,
    began: float,
    now: float,
) -> Trial:
    """``interactions``: all since the trial ``began``, in order; ``current``: what serves the other sessions.

    "worse": the odds of trouble are ``canary_odds`` times as high, rather than as high. After ``canary_sessions`` pairs
    or ``canary_days`` the likelier of the two is taken.
    """
    outcomes: dict[bool, list[bool]] = {True: [], False: []}
    for on_trial, troubled in _sessions(canary, current, interactions, now):
        outcomes[on_trial].append(troubled)
    share = config.canary_odds / (1 + config.canary_odds)  # of the pairs that tell, if it is as bad as that
    least = math.log(_PROMOTES_A_BAD_ONE / (1 - _WITHDRAWS_A_GOOD_ONE))
    most = math.log((1 - _PROMOTES_A_BAD_ONE) / _WITHDRAWS_A_GOOD_ONE)
    pairs, evidence, ended = 0, 0.0, now - began >= config.canary_days * 86400
    told = {True: 0, False: 0}
    for candidates, currents in zip(outcomes[True], outcomes[False], strict=False):
        pairs += 1
        if candidates != currents:
            told[candidates] += 1
            evidence += math.log(2 * (share if candidates else 1 - share))
        if not least < evidence < most or pairs == config.canary_sessions:
            ended = True
            break
    verdict = "undecided" if not ended else "worse" if evidence > 0 else "no worse"
    return Trial(
        adapter=canary.name,
        share=canary.share,
        verdict=verdict,
        pairs=pairs,
        only_candidate=told[True],
        only_current=told[False],
    )


def _sessions(
    canary: Canary, current: str, interactions: Sequence[Interaction], now: float
) -> Iterator[tuple[bool, bool]]:
    """Whether a session is on trial, and whether it had trouble; in the order in which they began.

    A session in which the adapter that it belongs to never answered does not count: somebody asked for another one.
    """
    turns = whole_turns(interactions)
    wrong = troubles(turns).values()
    sessions: dict[tuple[str, str, str], list[Interaction]] = {}
    for turn in turns:
        if turn.session:
            sessions.setdefault((turn.source, turn.owner, turn.session), []).append(turn)
    for (_, owner, session), lived in sessions.items():
        began = lived[0].created_at
        if now - began < _COUNTED_SECONDS + ASKS_AGAIN_SECONDS:
            continue
        on_trial = canary.takes(session, owner)
        adapter = canary.name if on_trial else current
        counted = [
            turn for turn in lived if turn.trajectory.adapter == adapter and turn.created_at - began < _COUNTED_SECONDS
        ]
        if counted:
            yield on_trial, any(is_so(turn) for turn in counted for is_so in wrong)
