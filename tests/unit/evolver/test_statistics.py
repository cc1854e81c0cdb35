"""Every hand-made statistic against scipy's, over many random inputs; the decisions that rest on them too."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats
from scipy.optimize import minimize

from agent.turn.choice import JudgedTool, chosen
from agent.turn.messages import Interaction
from benchmarks import gate_power
from benchmarks.gateway import _median_interval
from evolver.config import MonitorConfig, ReleaseConfig
from evolver.evaluation.soft_score import as_first, not_first, share
from evolver.evaluation.suites.chat import divergence
from evolver.release import canary, monitor
from evolver.statistics import (
    Z95,
    SequentialTest,
    mann_whitney_z,
    mean,
    mean_half_width,
    newcombe_lower_limit,
    paired_t_test,
    rate,
    sign_test,
    student_t_quantile,
    student_t_tail,
    wilson_interval,
)
from evolver.training.calibration import _RIDGE, _platt, auc
from tests.fakes.evolution import interaction, turn

COUNTS = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
VALUES = st.lists(st.integers(0, 20).map(float), min_size=2, max_size=60)
"""Few different values, so that many are equal."""
OLD, NEW = "adapter-0001", "adapter-0002"


def wilson(hits: int, n: int, z: float) -> tuple[float, float]:
    found = stats.binomtest(hits, n).proportion_ci(confidence_level=1 - 2 * stats.norm.sf(z), method="wilson")
    return found.low, found.high


@given(COUNTS, st.floats(0.5, 5))
def test_wilson(count: tuple[int, int], z: float) -> None:
    assert wilson_interval(*count, z) == pytest.approx(wilson(*count, z), abs=1e-9)


@given(COUNTS)
def test_a_rate_has_the_95_percent_interval(count: tuple[int, int]) -> None:
    found = rate(*count)
    expected = stats.binomtest(*count).proportion_ci(confidence_level=0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(COUNTS, COUNTS, st.floats(0.5, 5))
def test_newcombe_from_the_wilson_intervals_of_scipy(new: tuple[int, int], old: tuple[int, int], z: float) -> None:
    p_new, p_old = new[0] / new[1], old[0] / old[1]
    expected = p_new - p_old - ((p_new - wilson(*new, z)[0]) ** 2 + (wilson(*old, z)[1] - p_old) ** 2) ** 0.5
    assert newcombe_lower_limit(*new, *old, z) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("new", "old", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((0, 10), (0, 10), -0.2775, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ],
)
def test_newcombe_against_his_own_table(new: tuple[int, int], old: tuple[int, int], low: float, high: float) -> None:
    """Table II of Newcombe (1998), method 10."""
    assert newcombe_lower_limit(*new, *old, Z95) == pytest.approx(low, abs=5e-5)
    assert -newcombe_lower_limit(*old, *new, Z95) == pytest.approx(high, abs=5e-5)


@given(st.integers(0, 400), st.integers(0, 400))
def test_sign_test(better: int, worse: int) -> None:
    n = better + worse
    expected = stats.binomtest(better, n, 0.5, alternative="greater").pvalue if n else 1.0
    assert sign_test(better, worse) == pytest.approx(expected, rel=1e-9)


def mann_whitney_p(low: Sequence[float], high: Sequence[float]) -> float:
    return stats.mannwhitneyu(high, low, alternative="greater", method="asymptotic", use_continuity=False).pvalue


@given(VALUES, VALUES)
def test_mann_whitney(low: list[float], high: list[float]) -> None:
    if len({*low, *high}) == 1:
        assert mann_whitney_z(low, high) == 0
        return
    assert stats.norm.sf(mann_whitney_z(low, high)) == pytest.approx(mann_whitney_p(low, high), rel=1e-9, abs=1e-15)


@given(st.lists(st.floats(0, 100), min_size=2, max_size=200))
def test_the_interval_of_a_mean(values: list[float]) -> None:
    assert mean_half_width(values) == pytest.approx(stats.norm.ppf(0.975) * stats.sem(values), rel=1e-9, abs=1e-9)
    assert mean_half_width(values[:1]) == mean_half_width([]) == 0


@given(st.floats(-60, 60), st.integers(1, 2000))
def test_the_tail_of_student_t(t: float, df: int) -> None:
    assert student_t_tail(t, df) == pytest.approx(stats.t.sf(t, df), rel=1e-8, abs=1e-300)


@given(st.floats(1e-6, 0.5, exclude_max=True), st.integers(1, 2000))
def test_the_quantile_of_student_t(tail: float, df: int) -> None:
    assert student_t_quantile(tail, df) == pytest.approx(stats.t.isf(tail, df), rel=1e-7, abs=1e-9)


@given(st.lists(st.floats(-25, 25, allow_subnormal=False), min_size=2, max_size=200))
def test_the_paired_test_and_interval_of_a_mean_difference(differences: list[float]) -> None:
    found = mean(differences)
    assert found is not None
    assert (found.n, found.value) == (len(differences), pytest.approx(np.mean(differences), abs=1e-9))
    if np.std(differences) < 1e-6 * np.max(np.abs([1, *differences])):
        return
    oracle = stats.ttest_1samp(differences, 0.0, alternative="greater")
    assert paired_t_test(differences) == pytest.approx(oracle.pvalue, rel=1e-6, abs=1e-12)
    both = stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((both.low, both.high), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("same", "p"), [([0.5] * 4, 0.0), ([0.0] * 4, 1.0), ([-0.5] * 4, 1.0), ([9.0], 1.0), ([], 1.0)]
)
def test_differences_that_are_all_equal_or_too_few(same: list[float], p: float) -> None:
    assert paired_t_test(same) == p
    assert (mean(same) is None) is (len(same) < 2)


@given(st.lists(st.floats(0, 1000, allow_subnormal=False), min_size=1, max_size=200))
def test_the_interval_of_a_median(values: list[float]) -> None:
    expected = stats.quantile_test(values, p=0.5).confidence_interval(0.95)
    low, high = _median_interval(sorted(values))
    assert low == (expected.low if np.isfinite(expected.low) else min(values))
    assert high == (expected.high if np.isfinite(expected.high) else max(values))


@given(st.lists(st.floats(-20, 20), min_size=2, max_size=9), st.floats(-5, 5))
def test_soft_scores_are_log_probabilities_under_the_bias(logits: list[float], bias: float) -> None:
    """The token with the bias is the first one."""
    before = float(special.log_softmax(logits)[0])
    served = special.log_softmax([logits[0] + bias, *logits[1:]])
    assert as_first(1, before, {"1": bias}) == pytest.approx(served[0], abs=1e-6)
    if before < -1e-9:  # closer to certain, the chance of the others is lost in what the server says
        others = special.logsumexp(served[1:])
        assert not_first(1, before, {"1": bias}) == pytest.approx(others, rel=1e-5, abs=1e-6)


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=9))
def test_the_share_of_a_tool_is_the_softmax_of_the_scores(margins: list[float]) -> None:
    judged = tuple(JudgedTool(name=f"t{n}", margin=margin, search=0.0) for n, margin in enumerate(margins))
    shares = special.log_softmax([tool.score for tool in judged])
    for tool, expected in zip(judged, shares, strict=True):
        assert share(chosen(judged), {tool.name}) == pytest.approx(expected, abs=1e-9)


@given(st.integers(0, 10_000))
def test_the_t_statistics_of_the_simulated_gate(seed: int) -> None:
    draw = np.random.default_rng(seed)
    gains, silent = draw.normal(0.2, 1.0, (5, 20)), draw.normal(0.0, 0.1, (5, 6))
    oracle = stats.ttest_1samp(np.concatenate([gains, silent], 1), 0.0, axis=1)
    assert gate_power._t(gains, silent) == pytest.approx(oracle.statistic)


@given(st.lists(st.floats(-12, 12), min_size=1, max_size=20))
def test_the_normal_distribution_of_the_simulated_gate(values: list[float]) -> None:
    assert gate_power._normal(np.array(values)) == pytest.approx(stats.norm.cdf(values), abs=1e-5)


@given(st.integers(0, 400))
def test_the_fewest_improvements_that_a_sign_test_sees(changes: int) -> None:
    needed = int(stats.binom.isf(0.05, changes, 0.5)) + 1 if changes else 1
    assert gate_power._fewest(changes) == needed


@given(VALUES, VALUES)
def test_auc_is_the_u_statistic_over_all_pairs(no: list[float], yes: list[float]) -> None:
    expected = stats.mannwhitneyu(yes, no).statistic / (len(yes) * len(no))
    assert auc(sorted(yes), sorted(no)) == pytest.approx(expected)


@given(st.integers(0, 10_000))
def test_platt_scaling_finds_the_least_loss(seed: int) -> None:
    draw = np.random.default_rng(seed)
    yes, no = draw.normal(1.0, 2.0, 40), draw.normal(-1.0, 2.0, 30)

    def loss(point: Sequence[float]) -> float:
        slope, offset = point
        return (
            np.logaddexp(0, -(slope * yes + offset)).mean()
            + np.logaddexp(0, slope * no + offset).mean()
            + _RIDGE / 2 * slope**2
        )

    found = _platt(yes.tolist(), no.tolist())
    assert found == pytest.approx(minimize(loss, (0.0, 0.0), tol=1e-10).x, abs=1e-3)


@given(st.lists(st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)), min_size=2, max_size=20), st.integers(1, 20))
def test_the_divergence_of_two_distributions(weights: list[tuple[float, float]], shown: int) -> None:
    first, second = (np.array(side) / sum(side) for side in zip(*weights, strict=True))
    whole = float(stats.entropy(first, second))
    tokens = [str(n) for n in range(len(weights))]
    one, other = (dict(zip(tokens, side.tolist(), strict=True)) for side in (first, second))
    assert divergence(one, other) == pytest.approx(whole, abs=1e-9)
    few = [dict(list(side.items())[:shown]) for side in (one, other)]
    assert divergence(few[0], few[1]) <= whole + 1e-9


@given(st.integers(0, 300), st.integers(0, 300), st.floats(0.55, 0.95))
def test_the_evidence_is_the_ratio_of_two_likelihoods(hits: int, misses: int, share: float) -> None:
    test = SequentialTest(share, alpha=0.05, beta=0.1)
    n = hits + misses
    expected = stats.binom.logpmf(hits, n, share) - stats.binom.logpmf(hits, n, 0.5)
    assert hits * test.evidence(True) + misses * test.evidence(False) == pytest.approx(expected, abs=1e-8)
    assert np.exp(test.bounds) == pytest.approx((0.1 / 0.95, 0.9 / 0.05))


@pytest.mark.parametrize("odds", [1.5, 2.0, 4.0])
def test_the_errors_of_the_sequential_test_are_within_those_of_wald(odds: float) -> None:
    """Exactly, by carrying the chances of every count of hits from one observation to the next."""
    test = SequentialTest(odds / (1 + odds), alpha=0.05, beta=0.05)
    assert ended(test, 0.5)["worse"] <= test.alpha / (1 - test.beta)
    assert ended(test, test.share)["no worse"] <= test.beta / (1 - test.alpha)
    for true in (0.5, test.share):
        assert sum(ended(test, true).values()) == pytest.approx(1, abs=1e-6)


def ended(test: SequentialTest, true: float) -> dict[str, float]:
    """How likely each end is within 3,000 observations that hit with the chance ``true``."""
    least, most = test.bounds
    chances, found = np.array([1.0]), {"worse": 0.0, "no worse": 0.0}
    for n in range(1, 3001):
        chances = np.append(chances * (1 - true), 0.0) + np.append(0.0, chances * true)
        hits = np.arange(n + 1)
        evidence = hits * test.evidence(True) + (n - hits) * test.evidence(False)
        found["worse"] += chances[evidence >= most].sum()
        found["no worse"] += chances[evidence <= least].sum()
        chances[(evidence >= most) | (evidence <= least)] = 0.0
    return found


def outcomes(adapter: str, troubled: Sequence[bool], latencies: Sequence[float]) -> list[Interaction]:
    """A turn for each, in a session of its own; a troubled one was not answered."""
    made = []
    for number, (wrong, latency) in enumerate(zip(troubled, latencies, strict=True), 1):
        one = turn("q", adapter=adapter, stop_reason="step_limit" if wrong else "answered")
        timed = one.model_copy(update={"latency_ms": float(latency)})
        made.append(interaction(timed, number, session=f"{adapter} {number}"))
    return made


@given(st.integers(0, 2**32), st.floats(0, 0.6), st.floats(0, 0.6), st.floats(0.5, 4))
def test_the_monitor_goes_back_where_scipy_says_so(seed: int, p_old: float, p_new: float, slower: float) -> None:
    config = MonitorConfig(minimum_interactions=10)
    draw = np.random.default_rng(seed)
    n_old, n_new = draw.integers(10, 120, 2)
    old, new = draw.random(n_old) < p_old, draw.random(n_new) < p_new
    before, now = draw.gamma(4, 250, n_old).round(-2), (slower * draw.gamma(4, 250, n_new)).round(-2)
    found = monitor.watch(
        config, outcomes(OLD, old.tolist(), before.tolist()) + outcomes(NEW, new.tolist(), now.tolist()),
        current=NEW, previous=OLD,
    )  # fmt: skip
    each = config.significance / 6  # five figures and the latency share it
    z = float(stats.norm.isf(each))
    lower = (new.mean() - wilson(int(new.sum()), int(n_new), z)[0]) ** 2
    upper = (wilson(int(old.sum()), int(n_old), z)[1] - old.mean()) ** 2
    more_trouble = new.mean() - old.mean() - (lower + upper) ** 0.5 > config.error_margin
    longer = mann_whitney_p(config.latency_ratio * before, now) < each
    assert (found is not None) == (more_trouble or longer)
    assert found is None or found.reason.startswith("turns not answered" if more_trouble else "a turn takes")


@given(st.integers(0, 2**32), st.floats(0.0, 0.9), st.floats(0.0, 0.9))
def test_the_canary_ends_where_the_likelihoods_of_scipy_say_so(seed: int, p_new: float, p_old: float) -> None:
    config = ReleaseConfig(canary_sessions=60)
    chance = random.Random(seed)
    trial = canary.Canary(name=NEW, sha256="c" * 64, share=0.5)
    log, sides = [], {True: list[bool](), False: list[bool]()}
    for number in range(1, 101):
        on_trial = trial.takes(f"s{number}", "")
        wrong = chance.random() < (p_new if on_trial else p_old)
        sides[on_trial].append(wrong)
        one = turn("q", adapter=NEW if on_trial else OLD, stop_reason="step_limit" if wrong else "answered")
        log.append(interaction(one, number, session=f"s{number}"))
    found = canary.compare_sessions(config, trial, OLD, log, began=0.0, now=80_000.0)
    share, hits, misses, pairs, expected = config.canary_odds / (1 + config.canary_odds), 0, 0, 0, "undecided"
    for new, old in zip(sides[True], sides[False], strict=False):
        pairs, hits, misses = pairs + 1, hits + (new and not old), misses + (old and not new)
        n = hits + misses
        ratio = np.exp(stats.binom.logpmf(hits, n, share) - stats.binom.logpmf(hits, n, 0.5))
        if not 0.05 / 0.95 < ratio < 0.95 / 0.05 or pairs == 60:
            expected = "worse" if ratio > 1 else "no worse"
            break
    assert (found.verdict, found.pairs, found.only_candidate, found.only_current) == (expected, pairs, hits, misses)
