"""Whether a candidate may serve: a pure function of two reports on the same suite."""

from math import comb

from evolver.config import GateConfig
from evolver.types import EvalReport, GateDecision, ItemScore


def decide(config: GateConfig, incumbent: EvalReport, candidate: EvalReport) -> GateDecision:
    """Promote when the candidate is right significantly more often and no guard is broken. Every check is a reason.

    A model that never calls is always right to abstain, so abstention must not fall by more than ``no_call_margin``
    below an incumbent that does call, and never below ``no_call_floor``.
    """
    if [item.id for item in incumbent.items] != [item.id for item in candidate.items]:
        return GateDecision(promote=False, reasons=("failed: the reports are not on the same requests",))
    checks = [
        _improvement(config, incumbent, candidate),
        _abstention(config, incumbent, candidate),
        _well_formed(config, incumbent, candidate),
        (candidate.failed == 0, f"{candidate.failed} requests could not be judged"),
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
    if any(item.called for item in incumbent.items if item.needs_tool):
        floor = max(floor, incumbent.no_call.value - config.no_call_margin)
    value = candidate.no_call.value
    return value >= floor, f"rightly no call: {value:.0%} (needed {floor:.0%})"


def _well_formed(config: GateConfig, incumbent: EvalReport, candidate: EvalReport) -> tuple[bool, str]:
    most = incumbent.malformed.value + config.malformed_margin
    value = candidate.malformed.value
    return value <= most, f"malformed calls: {value:.1%} (at most {most:.1%})"


def _paired(incumbent: EvalReport, candidate: EvalReport) -> list[tuple[ItemScore, ItemScore]]:
    return list(zip(incumbent.items, candidate.items, strict=True))
