"""The gate: a pure function of reports on the same suites that decides whether a candidate may serve."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from agent.turn.messages import BASE
from evolver.config import GateConfig
from evolver.scores import EvalReport, GateDecision, ItemScore
from evolver.statistics import mean, paired_t_test, sign_test

FEWEST_NEW = 5
"""New requests on which alone a candidate can be better; fewer tell too little."""

Pair = tuple[EvalReport, EvalReport]
"""The incumbent's report and the candidate's, on one suite."""
Items = Sequence[tuple[ItemScore, ItemScore]]


def decide(
    config: GateConfig,
    incumbent: EvalReport,
    candidate: EvalReport,
    guards: Sequence[Pair] = (),
    *,
    own: Pair | None = None,
    new: Collection[str] = (),
    look: int = 1,
    unproved: str = "",
) -> GateDecision:
    """Promote a candidate that is better on the whole or on what is new, and not worse on the old. Gives all reasons.

    The whole are the shipped requests and those of the ``own`` suite; ``new`` names the requests of that suite that
    this cycle added, all others are old. Better: a one-sided paired t test of the soft scores. ``look``: the number of
    candidates, with this one, that were compared with this incumbent (``level``). Not worse: of the old requests that
    need a tool, no more than ``guard_margin`` are lost. ``guards`` are held to the same margin.

    ``unproved``: why it is not known that the candidate that answered is the adapter that was trained; "" when it is.
    """
    pairs = [(incumbent, candidate), *([own] if own else []), *guards]
    if any([item.id for item in old.items] != [item.id for item in new.items] for old, new in pairs):
        return GateDecision(promote=False, reasons=("failed: the reports are not on the same requests",))
    shipped, mine = _paired(incumbent, candidate), _paired(*own) if own else []
    fresh = [(old, now) for old, now in mine if now.id in new]
    known = [*shipped, *((old, now) for old, now in mine if now.id not in new)]
    whole = [*shipped, *mine]
    serves = _Incumbent(any(old.called for old, _ in whole if old.needs_tool), incumbent.model != BASE)
    failed = sum(now.failed for _, now in whole)
    checks = [
        _improvement(whole, fresh, level(config.significance, look), look),
        _not_worse("old requests", [(old, now) for old, now in known if now.needs_tool], config.guard_margin),
        _abstention(config, [(old, now) for old, now in shipped if not now.needs_tool], serves),
        _well_formed(config, whole, serves),
        (failed == 0, f"{failed} requests could not be judged"),
        (not unproved, f"not proved to be what was trained: {unproved}" if unproved else "served as it was trained"),
        *(_guard(config, old, now) for old, now in guards),
    ]
    reasons = tuple(f"{'passed' if passed else 'failed'}: {what}" for passed, what in checks)
    return GateDecision(promote=all(passed for passed, _ in checks), reasons=reasons)


def level(significance: float, look: int) -> float:
    """Return the share of ``significance`` that is spent on ``look``, 1 or more: 1/2, 1/6, 1/12, and so on.

    1/(k(k+1)) adds up to 1 over all k, so that of all candidates that are no better than an incumbent, however many
    there are, one is taken for better with the chance ``significance`` at most.
    """
    return significance / (look * (look + 1))


def _improvement(whole: Items, fresh: Items, spent: float, look: int) -> tuple[bool, str]:
    """The whole and what is new, where there is enough of it, share what is ``spent``."""
    parts = {"on the whole": _gains(whole)}
    if len(gains := _gains(fresh)) >= FEWEST_NEW:
        parts["on what is new"] = gains
    needed = spent / len(parts)
    found = {name: paired_t_test(gains) for name, gains in parts.items()}
    told = ", ".join(f"{name} {_told(gains)}, p = {found[name]:.2g}" for name, gains in parts.items())
    allowed = f"needed: p of at most {needed:.2g}, as candidate {look} against this adapter"
    return min(found.values()) <= needed, f"soft score: {told} ({allowed})"


def _gains(pairs: Items) -> list[float]:
    return [now.logprob - old.logprob for old, now in pairs if old.logprob is not None and now.logprob is not None]


def _told(gains: Sequence[float]) -> str:
    found = mean(gains)
    if found is None:
        return f"{len(gains)} requests"
    return f"{found.value:+.2f} nats ({found.low:+.2f} to {found.high:+.2f}) over {found.n} requests"


def _abstention(config: GateConfig, silent: Items, serves: "_Incumbent") -> tuple[bool, str]:
    """A model that never calls has an irrelevance accuracy of 1. So it may fall by ``irrelevance_margin`` below that of
    an incumbent that does call, and never below ``irrelevance_floor``."""
    before, value = (
        (_share([_right(side) for side in sides]) for sides in zip(*silent, strict=True)) if silent else (0, 0)
    )
    floor = config.irrelevance_floor
    if serves.calls:
        floor = max(floor, before - config.irrelevance_margin)
    worse, change = _worse(config, serves, [(not old.called, not now.called) for old, now in silent])
    return value >= floor and not worse, f"irrelevance accuracy: {value:.0%} (needed {floor:.0%}{change})"


def _well_formed(config: GateConfig, whole: Items, serves: "_Incumbent") -> tuple[bool, str]:
    """The invalid-call rate may rise by ``invalid_call_margin``."""
    before, value = _share([old.invalid_call for old, _ in whole]), _share([now.invalid_call for _, now in whole])
    most = before + config.invalid_call_margin
    worse, change = _worse(config, serves, [(not old.invalid_call, not now.invalid_call) for old, now in whole])
    return value <= most and not worse, f"invalid-call rate: {value:.1%} (at most {most:.1%}{change})"


class _Incumbent(NamedTuple):
    """Facts about the incumbent. ``calls``: True if it calls tools at all. ``is_adapter``: False for the base model."""

    calls: bool
    is_adapter: bool


def _worse(config: GateConfig, serves: _Incumbent, good: Sequence[tuple[bool, bool]]) -> tuple[bool, str]:
    """Return whether the candidate, the second of each pair, is good significantly less often by the one-sided sign
    test, with the figures; a base model, and an adapter that never calls, are not compared in this way."""
    if not (serves.calls and serves.is_adapter):
        return False, ""
    lost = sum(old and not now for old, now in good)
    won = sum(now and not old for old, now in good)
    p = sign_test(lost, won)
    return lost > won and p <= config.significance, f"; {won} requests better, {lost} worse, p = {p:.2g}"


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else 0.0


def _guard(config: GateConfig, incumbent: EvalReport, candidate: EvalReport) -> tuple[bool, str]:
    kept, what = _not_worse(candidate.suite, _paired(incumbent, candidate), config.guard_margin)
    return kept and candidate.failed == 0, what


def _not_worse(name: str, pairs: Items, margin: float) -> tuple[bool, str]:
    lost = sum(_right(old) for old, _ in pairs) - sum(_right(now) for _, now in pairs)
    most = margin * len(pairs)
    change = f"{lost} fewer" if lost > 0 else f"{-lost} more" if lost else "as many"
    than = "as" if not lost else "than"
    return lost <= most, f"{name}: {change} of {len(pairs)} are right {than} before (allowed: {int(most)} fewer)"


def _right(item: ItemScore) -> bool:
    """Return whether the call was exact, or none was made where none was needed."""
    return item.exact if item.needs_tool else not item.called and not item.failed


def _paired(incumbent: EvalReport, candidate: EvalReport) -> list[tuple[ItemScore, ItemScore]]:
    return list(zip(incumbent.items, candidate.items, strict=True))
