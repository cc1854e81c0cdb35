"""Who may serve."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evolver.config import GateConfig
from evolver.evaluation.gate import decide, level
from evolver.scores import EvalReport
from evolver.statistics import paired_t_test, sign_test
from tests.fakes.evolution import eval_report

CONFIG = GateConfig(significance=0.05, irrelevance_floor=0.6, irrelevance_margin=0.1, invalid_call_margin=0.05)
HITS = st.lists(st.booleans(), min_size=20, max_size=20)
QUICK = settings(max_examples=80, deadline=None)
NONE, ALL = [False] * 20, [True] * 20


def failed(reasons: tuple[str, ...]) -> list[str]:
    return [reason.split(":")[1].strip() for reason in reasons if reason.startswith("failed")]


def test_a_candidate_that_learned_may_serve() -> None:
    decision = decide(CONFIG, eval_report(NONE, ALL, called=False), eval_report([True] * 10 + [False] * 10, ALL))
    assert decision.promote
    assert len(decision.reasons) == 6
    assert not failed(decision.reasons)


@pytest.mark.parametrize(
    ("candidate", "why"),
    [
        (eval_report(NONE, ALL), "soft score"),
        (eval_report([True] + [False] * 19, ALL), "soft score"),
        (eval_report(ALL, [True] * 11 + [False] * 9), "irrelevance accuracy"),
        (eval_report(ALL, ALL, invalid=3), "invalid-call rate"),
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
    assert failed(decide(CONFIG, eval_report(NONE, ALL, called=True), candidate).reasons) == ["irrelevance accuracy"]


def changes(before: list[bool], after: list[bool]) -> int:
    return sum(b and not a for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(("lost", "p"), [(4, 0.062), (5, 0.031)])
@pytest.mark.parametrize("kind", ["irrelevance accuracy", "invalid-call rate"])
def test_a_significant_loss_fails_also_within_its_margin_where_an_adapter_that_calls_serves(
    kind: str, lost: int, p: float
) -> None:
    """100 requests of each kind: the margins of 10 and 5 of 100 are kept."""
    many, none, silent = [True] * 100, [False] * 100, [True] * 100
    if kind == "irrelevance accuracy":
        candidate = eval_report(many, [False] * lost + silent[lost:])
    else:
        candidate = eval_report(many, silent, invalid=lost)
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


def soft(reports: tuple[EvalReport, EvalReport]) -> float:
    """The p of scipy's paired test that the second is better."""
    old, new = ([item.logprob or 0.0 for item in report.items] for report in reports)
    if len({after - before for before, after in zip(old, new, strict=True)}) == 1:
        return 1.0
    return stats.ttest_rel(new, old, alternative="greater").pvalue


@QUICK
@given(HITS, HITS, HITS, HITS)
def test_promotion_means_significantly_better_and_every_guard_kept(
    old: list[bool], new: list[bool], silent_old: list[bool], silent_new: list[bool]
) -> None:
    incumbent, candidate = eval_report(old, silent_old), eval_report(new, silent_new)
    decision = decide(CONFIG, incumbent, candidate)
    silent_worse, silent_better = changes(silent_new, silent_old), changes(silent_old, silent_new)
    dropped = silent_worse > silent_better and sign_test(silent_worse, silent_better) <= 0.05
    kept = sum(old) - sum(new) <= 1 and sum(silent_new) >= max(12, sum(silent_old) - 2) and not dropped
    assert decision.promote == (soft((incumbent, candidate)) <= 0.025 and kept) == (not failed(decision.reasons))


def test_a_gain_on_new_requests_alone_is_enough_and_a_loss_on_old_ones_is_too_much() -> None:
    same = (
        eval_report([True, False] * 30, ALL, model="adapter-0001"),
        eval_report([True, False] * 30, ALL, model="adapter-0001"),
    )
    before, after = eval_report(NONE[:8], ()), eval_report([True, False] + [True] * 6, ())
    passed = decide(CONFIG, *same, own=(before, after), new={f"c{n}" for n in range(8)})
    assert passed.promote
    assert not decide(CONFIG, *same).promote
    assert (
        "on what is new +6.56 nats (+4.35 to +8.78) over 8 requests, p = 0.00011 "
        "(needed: p of at most 0.013, as candidate 1 against this adapter)" in passed.reasons[0]
    )
    worse = eval_report([True, False] * 26 + [False] * 8, ALL)
    decision = decide(CONFIG, same[0], worse, own=(before, after), new={f"c{n}" for n in range(8)})
    assert failed(decision.reasons) == ["old requests"]


def test_own_requests_of_earlier_cycles_are_old() -> None:
    same = (eval_report([True] * 60, ALL), eval_report([True] * 60, ALL))
    own = (eval_report([True] * 4 + [False] * 16, ()), eval_report([False] * 4 + [True] * 16, ()))
    assert decide(CONFIG, *same, own=own, new={f"c{n}" for n in range(20)}).promote
    decision = decide(CONFIG, *same, own=own, new={f"c{n}" for n in range(4, 20)})
    assert failed(decision.reasons) == ["old requests"]
    assert "old requests: 4 fewer of 64 are right than before (allowed: 3 fewer)" in decision.reasons[1]


def test_fewer_than_five_new_requests_tell_nothing_alone() -> None:
    same = (eval_report([True, False] * 30, ALL), eval_report([True, False] * 30, ALL))
    own = (eval_report(NONE[:4], ()), eval_report(ALL[:4], ()))
    reason = decide(CONFIG, *same, own=own, new={"c0", "c1", "c2", "c3"}).reasons[0]
    assert "on what is new" not in reason
    assert "needed: p of at most 0.025" in reason


def test_the_level_is_spent_over_all_looks_at_one_incumbent() -> None:
    assert [level(0.06, look) for look in (1, 2, 3)] == pytest.approx([0.03, 0.01, 0.005])
    assert 0.049 < sum(level(0.05, look) for look in range(1, 1000)) < 0.05
    better = eval_report([True] * 4 + [False] * 16, ALL)
    assert soft((eval_report(NONE, ALL), better)) == pytest.approx(0.021, abs=0.001)
    found = [decide(CONFIG, eval_report(NONE, ALL, called=False), better, look=look).promote for look in (1, 2)]
    assert found == [True, False]


def test_of_many_candidates_that_are_no_better_few_replace_the_incumbent() -> None:
    """Four looks at an equal candidate each, with differences as skewed as those of log-probabilities."""
    draw = np.random.default_rng(3)

    def better(look: int) -> bool:
        old, new = -draw.gamma(0.3, 8.0, (2, 60))
        return paired_t_test((new - old).tolist()) <= level(0.05, look)

    replaced = sum(any(better(look) for look in range(1, 5)) for _ in range(400))
    assert replaced <= 400 * 0.05 + 9, "20 are expected at most, and 29 are two deviations above"


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
    assert "are right" in decision.reasons[-1]
    assert decision.reasons[-1].endswith("before (allowed: 1 fewer)")
    assert decision.reasons[-1].startswith("passed" if passes else "failed: tiny")


def test_a_guard_suite_on_other_requests_proves_nothing() -> None:
    guard = (eval_report(ALL, ()), eval_report(ALL[:-1], ()))
    assert not decide(CONFIG, eval_report(NONE, ALL, called=False), eval_report(ALL, ALL), [guard]).promote
