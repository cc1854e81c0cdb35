"""A candidate on trial with a share of the sessions: is it worse than the active adapter?

Wald's sequential test of two shares ("Sequential Analysis", 1947, chapter 6): sessions of both kinds are paired in the
order in which they began; only pairs in which one of the two had trouble tell anything, and in how many of those it was
the candidate's is tested against one half. It may be looked at after every session without spoiling its errors.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Literal

from agent.adapters import active
from agent.adapters.active import Canary
from agent.log.entries import first_id
from agent.log.interaction_log import InteractionLog
from agent.log.queries import session_of
from agent.turn.messages import Interaction
from evolver.config import Config, ReleaseConfig
from evolver.statistics import SequentialTest
from evolver.store.ledger import Ledger
from evolver.store.sessions import ASKS_AGAIN_SECONDS, troubles
from toolkit.frozen import Frozen

_WITHDRAWS_A_GOOD_ONE = 0.05
_PROMOTES_A_BAD_ONE = 0.05
_COUNTED_SECONDS = 600.0
"""So long after its first turn the turns of a session count: an outcome must not change once it was looked at."""


class Trial(Frozen):
    """State of a trial. ``pairs`` of sessions, and in how many of them only the one or only the other had trouble."""

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
    """Return the state of the tenant's canary; None without one. ``now`` in seconds since the epoch."""
    own, pointer = (read(config.data_folder, ledger.tenant) for read in (active.read, active.serving))
    if own.canary is None or pointer.canary is None:
        return None
    began = next((change.at for change in ledger.releases()), now)  # any later change would have ended it
    with InteractionLog.open_readonly(config.data_folder / "interactions.db") as log:
        turns = log.whole_turns(after=first_id(began), tenant=ledger.tenant or None)
        return compare_sessions(config.evolver.release, pointer.canary, pointer.name, turns, began=began, now=now)


def compare_sessions(
    config: ReleaseConfig,
    canary: Canary,
    current: str,
    turns: Iterable[Interaction],
    *,
    began: float,
    now: float,
) -> Trial:
    """Compare the sessions of a trial. ``turns``: all whole ones since the trial ``began``, session by session;
    ``current``: the active adapter.

    "worse": the odds of trouble are ``canary_odds`` times as high, rather than as high. After ``canary_sessions`` pairs
    or ``canary_days`` the likelier of the two is taken.
    """
    outcomes: dict[bool, list[bool]] = {True: [], False: []}
    for on_trial, troubled in _sessions(canary, current, turns, now):
        outcomes[on_trial].append(troubled)
    share = config.canary_odds / (1 + config.canary_odds)  # of the pairs that tell, if it is as bad as that
    test = SequentialTest(share, alpha=_WITHDRAWS_A_GOOD_ONE, beta=_PROMOTES_A_BAD_ONE)
    least, most = test.bounds
    pairs, evidence, ended = 0, 0.0, now - began >= config.canary_days * 86400
    told = {True: 0, False: 0}
    for candidates, currents in zip(outcomes[True], outcomes[False], strict=False):
        pairs += 1
        if candidates != currents:
            told[candidates] += 1
            evidence += test.evidence(candidates)
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


def _sessions(canary: Canary, current: str, turns: Iterable[Interaction], now: float) -> Iterator[tuple[bool, bool]]:
    """Return whether a session is on trial, and whether it had trouble; in the order in which they began.

    A session in which the adapter that it belongs to never answered does not count: somebody asked for another one.
    """
    outcomes = []
    for (_, _, owner, session), lived in groupby(turns, key=session_of):
        if not session:
            continue
        first, *later = _soon(lived)
        if now - first.created_at < _COUNTED_SECONDS + ASKS_AGAIN_SECONDS:
            continue
        on_trial = canary.takes(session, owner)
        troubled = _troubled(first, later, canary.name if on_trial else current)
        if troubled is not None:
            outcomes.append((first.id, on_trial, troubled))
    return ((on_trial, troubled) for _, on_trial, troubled in sorted(outcomes))


def _soon(lived: Iterable[Interaction]) -> Iterator[Interaction]:
    """The first turn of a session, and those that count with it or may ask one of these again."""
    began: float | None = None
    for turn in lived:
        began = turn.created_at if began is None else began
        if turn.created_at - began < _COUNTED_SECONDS + ASKS_AGAIN_SECONDS:
            yield turn


def _troubled(first: Interaction, later: Sequence[Interaction], adapter: str) -> bool | None:
    """Return whether the session of ``first`` had trouble with ``adapter``; None where that never answered."""
    lived = (first, *later)
    counted = [
        turn
        for turn in lived
        if turn.trajectory.adapter == adapter and turn.created_at - first.created_at < _COUNTED_SECONDS
    ]
    wrong = troubles(lived).values()
    return any(is_so(turn) for turn in counted for is_so in wrong) if counted else None
