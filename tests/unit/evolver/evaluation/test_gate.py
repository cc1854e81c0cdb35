"""Who may serve."""

from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolver.config import GateConfig
from evolver.gate import decide, sign_test
from tests.fakes.evolution import eval_report

CONFIG = GateConfig(significance=0.05, no_call_floor=0.6, no_call_margin=0.1, malformed_margin=0.05)
HITS = st.lists(st.booleans(), min_size=20, max_size=20)
QUICK = settings(max_examples=80, deadline=None)
NONE, ALL = [False] * 20, [True] * 20


def failed(reasons: tuple[str, ...]) -> list[str]:
    return [reason.split(":")[1].strip() for reason in reasons if reason.startswith("failed")]


def test_a_candidate_that_learned_may_serve() -> None:
    decision = decide(CONFIG, eval_report(NONE, ALL, called=False), eval_report([True] * 10 + [False] * 10, ALL))
    assert decision.promote
    assert len(decision.reasons) == 5
    assert not failed(decision.reasons)


@pytest.mark.parametrize(
    ("candidate", "why"),
    [
        (eval_report(NONE, ALL), "exact calls"),
        (eval_report([True] * 4 + [False] * 16, ALL), "exact calls"),
        (eval_report(ALL, [True] * 11 + [False] * 9), "rightly no call"),
        (eval_report(ALL, ALL, malformed=3), "malformed calls"),
        (eval_report(ALL, ALL, failed=1), "1 requests could not be judged"),
    ],
)
def test_each_guard_alone_keeps_a_candidate_out(candidate: object, why: str) -> None:
    decision = decide(CONFIG, eval_report(NONE, ALL, called=False), candidate)  # type: ignore[arg-type]
    assert not decision.promote
    assert failed(decision.reasons) == [why]


def test_what_is_not_proved_to_be_the_trained_adapter_may_not_serve() -> None:
    rest = (CONFIG, eval_report(NONE, ALL, called=False), eval_report(ALL, ALL))
    assert "passed: served as it was trained" in decide(*rest).reasons
    decision = decide(*rest, unproved="no probe")
    assert not decision.promote
    assert "failed: not proved to be what was trained: no probe" in decision.reasons


def test_reports_on_other_requests_are_not_compared() -> None:
    decision = decide(CONFIG, eval_report(NONE, ALL), eval_report(ALL, ALL[:19]))
    assert not decision.promote
    assert decision.reasons[0].startswith("failed")


def test_an_incumbent_that_calls_sets_the_bar_for_abstention() -> None:
    candidate = eval_report(ALL, [True] * 14 + [False] * 6)
    assert decide(CONFIG, eval_report(NONE, ALL, called=False), candidate).promote
    assert failed(decide(CONFIG, eval_report(NONE, ALL, called=True), candidate).reasons) == ["rightly no call"]


def changes(before: list[bool], after: list[bool]) -> int:
    return sum(b and not a for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(("lost", "p"), [(4, 0.062), (5, 0.031)])
@pytest.mark.parametrize("kind", ["rightly no call", "malformed calls"])
def test_a_significant_loss_fails_also_within_its_margin_where_an_adapter_that_calls_serves(
    kind: str, lost: int, p: float
) -> None:
    """100 requests of each kind: the margins of 10 and 5 of 100 are kept."""
    many, none, silent = [True] * 100, [False] * 100, [True] * 100
    if kind == "rightly no call":
        candidate = eval_report(many, [False] * lost + silent[lost:])
    else:
        candidate = eval_report(many, silent, malformed=lost)
    decision = decide(CONFIG, eval_report(none, silent, model="adapter-0001"), candidate)
    assert failed(decision.reasons) == ([kind] if p <= 0.05 else [])
    assert f"; 0 requests better, {lost} worse, p = {p})" in next(r for r in decision.reasons if kind in r)
    for trivial in (
        eval_report(none, silent, model="base"),
        eval_report(none, silent, model="adapter-0001", called=False),
    ):
        assert decide(CONFIG, trivial, candidate).promote


def test_what_is_lost_is_weighed_against_what_is_won() -> None:
    old, new = [True] * 90 + [False] * 10, [False] * 6 + [True] * 90 + [False] * 4
    incumbent = eval_report([False] * 20, old, model="adapter-0001")
    assert decide(CONFIG, incumbent, eval_report(ALL, new)).promote


@QUICK
@given(HITS, HITS, HITS, HITS)
def test_promotion_means_significantly_better_and_every_guard_kept(
    old: list[bool], new: list[bool], silent_old: list[bool], silent_new: list[bool]
) -> None:
    incumbent, candidate = eval_report(old, silent_old), eval_report(new, silent_new)
    decision = decide(CONFIG, incumbent, candidate)
    better = sum(b and not a for a, b in zip(old, new, strict=True))
    worse = sum(a and not b for a, b in zip(old, new, strict=True))
    p = sum(comb(better + worse, k) for k in range(better, better + worse + 1)) / 2 ** (better + worse)
    silent_worse, silent_better = changes(silent_new, silent_old), changes(silent_old, silent_new)
    dropped = silent_worse > silent_better and sign_test(silent_worse, silent_better) <= 0.05
    expected = better > worse and p <= 0.05 and sum(silent_new) >= max(12, sum(silent_old) - 2) and not dropped
    assert decision.promote == expected == (not failed(decision.reasons))


@QUICK
@given(HITS, HITS)
def test_nothing_is_promoted_over_itself_and_never_both_ways(one: list[bool], other: list[bool]) -> None:
    first, second = eval_report(one, ALL), eval_report(other, ALL)
    assert not decide(CONFIG, first, first).promote
    assert not (decide(CONFIG, first, second).promote and decide(CONFIG, second, first).promote)


@QUICK
@given(st.integers(0, 40), st.integers(0, 40))
def test_the_sign_test_is_a_probability_that_falls_with_every_improvement(better: int, worse: int) -> None:
    p = sign_test(better, worse)
    assert 0 < p <= 1
    assert sign_test(better + 1, worse) < p or p == 1
    assert sign_test(better, worse + 1) >= p
    assert sign_test(better, worse) + sign_test(worse + 1, better - 1) == pytest.approx(1) if better else p == 1


def test_the_sign_test_against_known_figures() -> None:
    assert sign_test(5, 0) == 1 / 32
    assert sign_test(9, 1) == pytest.approx(11 / 1024)


@pytest.mark.parametrize(
    ("after", "passes"),
    [([True] * 19 + [False], True), ([True] * 18 + [False] * 2, False), ([True] * 20, True)],
)
def test_a_guard_suite_may_not_lose_more_than_its_margin(after: list[bool], passes: bool) -> None:
    guard = (eval_report(ALL, ()), eval_report(after, ()))
    decision = decide(CONFIG, eval_report(NONE, ALL, called=False), eval_report(ALL, ALL), [guard])
    assert decision.promote == passes
    assert "requests lost (at most 1.0)" in decision.reasons[-1]
    assert decision.reasons[-1].startswith("passed" if passes else "failed: tiny")


def test_a_guard_suite_on_other_requests_proves_nothing() -> None:
    guard = (eval_report(ALL, ()), eval_report(ALL[:-1], ()))
    assert not decide(CONFIG, eval_report(NONE, ALL, called=False), eval_report(ALL, ALL), [guard]).promote
