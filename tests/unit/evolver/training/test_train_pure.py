"""The parts of the trainer that need no torch: tree, plan, schedule, calibration."""

import math
import random
from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver.training.calibration import Margin, auc, calibrate, deciding_margins
from evolver.training.prefix_tree import TokenizedLesson, pack, plan, shared_length
from evolver.training.schedule import (
    affordable_steps,
    deal,
    halve,
    learning_rate_factor,
    packs_of_epochs,
    step_seed,
    why_lost,
)

TOKEN = st.integers(0, 3)
SEQUENCES = st.lists(st.lists(TOKEN, min_size=2, max_size=30), min_size=1, max_size=12)


def _lessons(sequences: list[list[int]]) -> list[TokenizedLesson]:
    return [TokenizedLesson(str(i), tuple(tokens), (len(tokens) - 1,)) for i, tokens in enumerate(sequences)]


@given(left=st.lists(TOKEN, max_size=20), right=st.lists(TOKEN, max_size=20))
def test_shared_length(left: list[int], right: list[int]) -> None:
    expected = next(
        (i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right))
    )
    assert shared_length(left, right) == expected


@given(sequences=SEQUENCES, min_gain=st.integers(1, 20))
def test_every_lesson_can_be_read_back_from_its_pack(sequences: list[list[int]], min_gain: int) -> None:
    lessons = _lessons(sequences)
    packed = pack(lessons, range(len(lessons)), min_gain=min_gain)
    read = set()
    for index in range(len(packed.nodes)):
        path, at = [], index
        while at >= 0:
            node = packed.nodes[at]
            assert list(packed.positions[node.start : node.end]) == list(
                range(node.depth, node.depth + node.end - node.start)
            )
            path.append(packed.tokens[node.start : node.end])
            at = node.parent
        read.add(tuple(token for part in reversed(path) for token in part))
    assert {lesson.input for lesson in lessons} <= read
    assert len(packed.tokens) <= packed.plain_tokens == sum(len(lesson.input) for lesson in lessons)
    assert packed.weight == pytest.approx(len(lessons))
    for number, lesson in enumerate(lessons):
        slot = packed.first_slots[number]
        assert packed.positions[packed.predictors[slot]] == len(lesson.tokens) - 2
        assert any(target[:2] == (slot, lesson.tokens[-1]) for target in packed.targets)


def test_a_shared_prefix_is_laid_out_once() -> None:
    prefix = list(range(100, 200))
    packed = pack(_lessons([[*prefix, i, i, i] for i in range(10)]), range(10))
    assert len(packed.tokens) == 100 + 10 * 2
    assert [node.parent for node in packed.nodes] == [-1] + [0] * 10


@given(sequences=SEQUENCES, budget=st.integers(4, 80), seed=st.integers(0, 3))
def test_a_plan_holds_every_lesson_once_and_keeps_the_budget(
    sequences: list[list[int]], budget: int, seed: int
) -> None:
    lessons = _lessons(sequences)
    packs = plan(lessons, range(len(lessons)), budget, seed)
    assert sorted(i for members in packs for i in members) == list(range(len(lessons)))
    assert packs == plan(lessons, range(len(lessons)), budget, seed)
    longest = max(len(lesson.input) for lesson in lessons)
    for members in packs:
        assert (
            len({lessons[i].input for i in members}) == 1
            or len(pack(lessons, members).tokens) <= max(budget, longest) * 2
        )


def test_groups_that_share_stay_together_while_they_fit() -> None:
    generator = random.Random(1)
    sequences = []
    for context in range(12):
        prefix = [1000 + context] * 300
        sequences += [prefix + [generator.randrange(900) for _ in range(40)] for _ in range(16)]
    lessons = _lessons(sequences)
    packs = [pack(lessons, members) for members in plan(lessons, range(len(lessons)), 2048, 0)]
    computed, plain = sum(len(p.tokens) for p in packs), sum(p.plain_tokens for p in packs)
    assert computed == 12 * (300 + 16 * 39)
    assert plain / computed > 5


def test_a_prefix_longer_than_the_budget_is_shared_all_the_same() -> None:
    generator = random.Random(1)
    lessons = _lessons([[1] * 3000 + [generator.randrange(2, 900) for _ in range(60)] for _ in range(256)])
    packs = [pack(lessons, members) for members in plan(lessons, range(len(lessons)), 768, 0)]
    assert max(len(p.tokens) for p in packs) <= 4500
    assert sum(p.plain_tokens for p in packs) / sum(len(p.tokens) for p in packs) > 15


def test_epochs_differ_in_order_but_not_in_content() -> None:
    lessons = _lessons([[i, i + 1, i + 2] for i in range(50)])
    packs = packs_of_epochs(lessons, 2, 20, 0)
    first, second = packs[: len(packs) // 2], packs[len(packs) // 2 :]
    assert first != second
    assert sorted(chain(*first)) == sorted(chain(*second)) == list(range(50))


def test_halving_keeps_every_lesson() -> None:
    lessons = _lessons([[i, i + 1] for i in range(7)])
    assert sorted(len(part) for part in halve([[0, 1, 2, 3], [4, 5], [6]], lessons)) == [1, 1, 1, 2, 2]


def test_learning_rate_rises_then_falls_to_almost_nothing() -> None:
    for decay in ("linear", "cosine"):
        factors = [learning_rate_factor(step, 40, 4, decay) for step in range(40)]
        assert factors[0] == pytest.approx(0.2)
        assert factors[4] == 1.0
        assert all(a > b > 0 for a, b in pairwise(factors[4:]))
        assert factors[-1] < 0.03


def test_a_time_budget_shortens_the_plan_only_when_it_must() -> None:
    assert affordable_steps(10, 100, math.inf, [1.0] * 8) == 100
    assert affordable_steps(10, 100, 30.0, [9.0, 1.0, 1.0, 1.0, 1.0]) == 40
    assert affordable_steps(10, 100, 1000.0, [1.0] * 8) == 100
    assert affordable_steps(2, 100, 30.0, [40.0, 1.0]) == 100, "two steps say nothing yet"
    assert affordable_steps(10, 100, -5.0, [1.0] * 8) == 10


def test_a_run_is_lost_when_the_loss_is_no_number_or_explodes() -> None:
    falling = [5.0 - 0.1 * i for i in range(30)]
    assert why_lost(falling) is None
    assert why_lost([*falling, 9.0, 9.0]) is None, "two bad steps are noise"
    assert why_lost([*falling, *[9.0] * 5]) == "the loss rose from 2.30 to 9.00"
    assert why_lost([2.0, math.nan]) == "the loss is nan"
    assert why_lost([math.inf]) == "the loss is inf"


def test_a_run_of_few_steps_is_lost_when_its_loss_ends_far_above_its_first() -> None:
    assert why_lost([2.0]) is None
    assert why_lost([2.0, 1.0, 4.9]) is None
    assert why_lost([2.0, 1.0, 5.1]) == "the loss rose from 2.00 to 5.10"


def test_calibration_cuts_between_sides_that_lie_apart() -> None:
    found = calibrate(5, [2.0 + i for i in range(10)], [-3.0 - i for i in range(8)])
    assert found is not None
    assert -2.0 < found.bias < 3.0
    assert (found.token_id, found.auc, found.call_accuracy, found.no_call_accuracy) == (5, 1.0, 1.0, 1.0)
    assert (found.n_call, found.n_no_call) == (10, 8)


def test_calibration_moves_a_model_that_always_calls() -> None:
    call, no_call = [6.0, 5.5, 5.0, 4.5, 4.0, 3.5, 3.0, 1.2], [2.0, 1.8, 1.5, 1.1, 1.0, 0.9, 0.8, 5.2]
    found = calibrate(5, call, no_call)
    assert found is not None
    assert -3.0 < found.bias < -2.0
    assert found.call_accuracy == found.no_call_accuracy == 7 / 8
    assert sum(margin + found.bias > 0 for margin in call) == 7
    assert sum(margin + found.bias > 0 for margin in no_call) == 1


def test_calibration_asks_no_more_of_a_call_than_it_must() -> None:
    apart = calibrate(5, [5.0 + i for i in range(10)], [-1.0 - i for i in range(10)])
    assert apart is not None
    assert -1.5 < apart.bias < -0.5, "half of the way from none to the middle"
    seldom = calibrate(5, [1.0 - i / 10 for i in range(10)], [-5.0 - i for i in range(10)])
    assert seldom is not None
    assert 1.0 < seldom.bias < 4.0, "all of the way, where it calls too seldom"


def test_of_the_candidates_of_a_request_the_best_one_decides() -> None:
    margins = [
        Margin("call", 1.0, ("a", 10.0)),
        Margin("call", 2.0, ("a", 1.0)),
        Margin("no_call", -3.0, ("b", 0.0)),
        Margin("no_call", -1.0, ("b", 0.0)),
        Margin("no_call", 0.5),
    ]
    assert deciding_margins(margins) == {"call": [1.0], "no_call": [0.5, -1.0]}


def test_calibration_needs_both_sides() -> None:
    assert calibrate(5, [1.0] * 20, [0.0] * 7) is None
    assert calibrate(5, [], [0.0] * 20) is None


@given(
    yes=st.lists(st.integers(-5, 5), min_size=1, max_size=12), no=st.lists(st.integers(-5, 5), min_size=1, max_size=12)
)
def test_auc_is_the_share_of_pairs_in_order(yes: list[int], no: list[int]) -> None:
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in yes for b in no]
    assert auc(sorted(yes), sorted(no)) == pytest.approx(sum(pairs) / len(pairs))


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6), processes=st.integers(1, 5), length=st.integers(2, 30)
)
def test_a_step_is_dealt_whole_and_to_everyone_if_it_can_be(sizes: list[int], processes: int, length: int) -> None:
    lessons = _lessons([[i] * length for i in range(sum(sizes))])
    numbers = iter(range(sum(sizes)))
    packs = [[next(numbers) for _ in range(size)] for size in sizes]
    shares = deal(packs, lessons, processes)
    assert len(shares) == processes
    assert sorted(i for share in shares for members in share for i in members) == list(range(sum(sizes)))
    assert all(shares) == (sum(sizes) >= processes)
    assert deal(packs, lessons, 1) == [packs]


def test_no_two_steps_or_processes_draw_the_same_dropout() -> None:
    seeds = {step_seed(seed, step, process) for seed in range(3) for step in range(50) for process in range(4)}
    assert len(seeds) == 3 * 50 * 4
