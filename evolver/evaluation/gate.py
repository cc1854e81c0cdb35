"""Whether a candidate may serve: a pure function of reports on the same suites."""

from collections.abc import Sequence
from math import comb

from agent.messages import BASE
from evolver.config import GateConfig
from evolver.types import EvalReport, GateDecision, ItemScore


def decide(
    config: GateConfig,
    incumbent: EvalReport,
    candidate: EvalReport,
    guards: Sequence[tuple[EvalReport, EvalReport]] = (),
    *,
    unproved: str = "",
) -> GateDecision:
    """Promote when the candidate is right significantly more often and no guard is broken. Every check is a reason.

    ``guards`` are reports (incumbent's, candidate's) on other suites, on which the candidate need not be better, but
    must not lose more than ``guard_margin`` of all requests. ``unproved``: why it is not known that the candidate that
    answered is the adapter that was trained; "" when it is.

    A model that never calls is always right to abstain and makes no malformed call. So abstention must not fall by
    more than ``no_call_margin`` below an incumbent that does call, and never below ``no_call_floor``; malformed calls
    may be more by ``malformed_margin``. Where an adapter that calls is the incumbent, both also fail within their
    margins when the same requests say, by the same one-sided sign test, that they are worse.
    """
    pairs = [(incumbent, candidate), *guards]
    if any([item.id for item in old.items] != [item.id for item in new.items] for old, new in pairs):
        return GateDecision(promote=False, reasons=("failed: the reports are not on the same requests",))
    checks = [
        _improvement(config, incumbent, candidate),
        _abstention(config, incumbent, candidate),
        _well_formed(config, incumbent, candidate),
        (candidate.failed == 0, f"{candidate.failed} requests could not be judged"),
        (not unproved, f"not proved to be what was trained: {unproved}" if unproved else "served as it was trained"),
        *(_guard(config, old, new) for old, new in guards),
    ]
    reasons = tuple(f"{'passed' if passed else 'failed'}: {what}" for passed, what in checks)
    return GateDecision(promote=all(passed for passed, _ in checks), reasons=reasons)


def sign_test(better: int, worse: int) -> float:
    """One-sided exact p of at least ``better`` improvements among ``better + worse`` changes (McNemar's exact test)."""
    n = better + worse
    return sum(comb(n, k) for k in range(better, n + 1)) / 2**n


def _improvement(config: GateConfig, incumbent: EvalReport, candidate: EvalReport) -> tuple[bool, str]:
    pairs = [(old.exact, new.exact) for old, new in _paired(incumbent, candidate) if new.needs_tool]
    better = sum(new and not old for old, new in pairs)
    worse = sum(old and not new for old, new in pairs)
    p = sign_test(better, worse)
    what = f"exact calls: {better} requests better, {worse} worse (p = {p:.2g}, needed {config.significance:g})"
    return better > worse and p <= config.significance, what


def _abstention(config: GateConfig, incumbent: EvalReport, candidate: EvalReport) -> tuple[bool, str]:
    floor = config.no_call_floor
    if _calls(incumbent):
        floor = max(floor, incumbent.no_call.value - config.no_call_margin)
    value = candidate.no_call.value
    silent = [(not old.called, not new.called) for old, new in _paired(incumbent, candidate) if not new.needs_tool]
    worse, change = _worse(config, incumbent, silent)
    return value >= floor and not worse, f"rightly no call: {value:.0%} (needed {floor:.0%}{change})"


def _well_formed(config: GateConfig, incumbent: EvalReport, candidate: EvalReport) -> tuple[bool, str]:
    most = incumbent.malformed.value + config.malformed_margin
    value = candidate.malformed.value
    sound = [(not old.malformed, not new.malformed) for old, new in _paired(incumbent, candidate)]
    worse, change = _worse(config, incumbent, sound)
    return value <= most and not worse, f"malformed calls: {value:.1%} (at most {most:.1%}{change})"


def _worse(config: GateConfig, incumbent: EvalReport, good: Sequence[tuple[bool, bool]]) -> tuple[bool, str]:
    """Whether the candidate, the second of each pair, is good significantly less often, with the figures; a base model,
    and an adapter that never calls, are not compared in this way."""
    if incumbent.model == BASE or not _calls(incumbent):
        return False, ""
    lost = sum(old and not new for old, new in good)
    won = sum(new and not old for old, new in good)
    p = sign_test(lost, won)
    return lost > won and p <= config.significance, f"; {won} requests better, {lost} worse, p = {p:.2g}"


def _calls(report: EvalReport) -> bool:
    return any(item.called for item in report.items if item.needs_tool)


def _guard(config: GateConfig, incumbent: EvalReport, candidate: EvalReport) -> tuple[bool, str]:
    """Right: the exact call, or rightly none."""
    right = [(_right(old), _right(new)) for old, new in _paired(incumbent, candidate)]
    lost = sum(old for old, _ in right) - sum(new for _, new in right)
    most = config.guard_margin * len(right)
    what = f"{candidate.suite}: {lost:+d} of {len(right)} requests lost (at most {most:.1f})"
    return lost <= most and candidate.failed == 0, what


def _right(item: ItemScore) -> bool:
    return item.exact if item.needs_tool else not item.called and not item.failed


def _paired(incumbent: EvalReport, candidate: EvalReport) -> list[tuple[ItemScore, ItemScore]]:
    return list(zip(incumbent.items, candidate.items, strict=True))
