"""Variants of kept traces: the same wording, other values, executed."""

import random
import re
from dataclasses import replace
from itertools import combinations, count
from pathlib import Path
from typing import Annotated, Any

import pytest

from agent.text.matching import SMALL_NUMBERS, states
from evolver.augmentation.values import fresh
from evolver.augmentation.vary import vary
from evolver.config import VaryConfig
from evolver.lessons.duplicates import Accepted
from evolver.store.cycle_folder import UNFIT_VARIANTS
from evolver.store.jsonl import read_lines
from evolver.text.value_spans import places, plainly, said
from evolver.types import Trace, TraceKind, TraceVerdict, Varied
from tests.fakes import shop_tools
from tests.fakes.evolution import trace
from tests.fakes.sandbox import InProcessSandbox
from tests.fakes.stages import context
from toolkit.declare import Known, tool
from toolkit.describing import describe
from toolkit.execute import Executor
from toolkit.registry import ToolRegistry
from toolkit.sandbox import ExecResult
from toolkit.tool import ToolCall


def adding(first: int, second: int, request: str = "Please add the prices {} and {}.", **rest: Any) -> Trace:
    arguments = {"first": first, "second": second}
    return trace(request.format(first, second), "add_prices", arguments, first + second, **rest)


KEPT = adding(21, 34)
MADE = [KEPT, adding(5000, 62), adding(7, 18), adding(430, 99)]


def varied(folder: Path, *kept: Trace, made: list[Trace] = MADE, count: int = 3, **rest: Any) -> list[Trace]:
    file = folder / "varied.jsonl"
    stage = context(folder, shop_tools.executor(), **{"seed": 1, **rest})
    found = vary(stage, VaryConfig(per_value=count), kept, made)
    traces = read_lines(file, Trace)
    assert found == Varied(file=file, traces=len(traces), dropped=found.dropped)
    return traces


def test_a_variant_states_other_values_in_the_same_wording_and_has_their_own_result(tmp_path: Path) -> None:
    traces = varied(tmp_path, KEPT)
    assert len(traces) == 3 * 2
    for made in traces:
        (call,) = made.calls
        assert re.fullmatch(r"Please add the prices [\w,]+ and [\w,]+\.", made.request)
        assert all(states(made.request, value) for value in call.arguments.values())
        assert made.results == (call.arguments["first"] + call.arguments["second"],)  # type: ignore[operator]
        assert (made.provenance.derived_from, made.answer) == (KEPT.id, "")
    assert len({made.request for made in traces} | {KEPT.request}) == 7


def test_the_more_values_a_call_states_the_more_variants_it_has(tmp_path: Path) -> None:
    lists = trace("Find the heaviest parcel of 4, 9 and 7.", "heaviest_parcel", {"weights": [4, 9, 7]}, 9)
    assert len(varied(tmp_path, lists, made=[lists, *MADE], count=2)) == 2
    assert len(varied(tmp_path, KEPT, count=2)) == 4


def test_values_have_the_form_of_those_that_the_model_made_for_that_parameter(tmp_path: Path) -> None:
    firsts = {call.arguments["first"] for made in varied(tmp_path, KEPT, count=30) for call in made.calls}
    assert {len(str(first)) for first in firsts} <= {len(str(first)) for first in (21, 5000, 7, 430)}
    assert {5000, 7, 430} & firsts
    assert firsts - {21, 5000, 7, 430}


def test_what_does_not_say_the_same_twice_is_no_lesson(tmp_path: Path) -> None:
    ticks = count()

    class Ticking(InProcessSandbox):
        def run(self, *call: Any, **rest: Any) -> ExecResult:
            return replace(super().run(*call, **rest), value=next(ticks))

    stage = context(tmp_path, Executor(shop_tools.registry(), Ticking()), seed=1)
    found = vary(stage, VaryConfig(per_value=2), [KEPT], MADE)
    assert (found.traces, set(found.dropped) - {"duplicate"}) == (0, {"result_changes"})  # a draw may repeat the source
    unfit = read_lines(tmp_path / UNFIT_VARIANTS, TraceVerdict)
    assert len(unfit) == sum(found.dropped.values())
    assert {one.verdict.reason for one in unfit} == set(found.dropped)
    assert all("add the prices" in one.trace.request for one in unfit)


@pytest.mark.parametrize("dropped", [True, False])
def test_personal_data_is_dropped_where_it_is_elsewhere(tmp_path: Path, *, dropped: bool) -> None:
    labels = [f"from 192.168.7.{n}" for n in range(31, 36)]
    kept = trace(f"Write the label {labels[0]} for me.", "shout_label", {"label": labels[0]}, labels[0].upper())
    made = [trace(f"Write {label}.", "shout_label", {"label": label}, label.upper()) for label in labels]
    assert bool(varied(tmp_path, kept, made=made, personal_data=dropped)) is not dropped


def test_one_call_spelled_in_two_ways_is_two_lessons(tmp_path: Path) -> None:
    asked = adding(2, 3, "Please be so kind as to add these prices of today for me, as soon as you can: {} and {}.")
    found = varied(tmp_path, asked, made=[asked, adding(4, 5)], count=30)
    assert any(Accepted([one]).repeated_by(other) == "near_duplicate" for one, other in combinations(found, 2))
    assert len({one.request.lower() for one in found}) == len(found)


def test_texts_are_those_that_the_model_made(tmp_path: Path) -> None:
    texts = ("fragile glass", "keep dry", "this side up")
    made = [trace(f"Shout {text} on it.", "shout_label", {"label": text}, text.upper()) for text in texts]
    variants = varied(tmp_path, made[0], made=made, count=10)
    assert {str(one.calls[0].arguments["label"]) for one in variants if len(one.calls) == 1} == set(texts[1:])


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (2024, r"[1-9]\d{3}"), (-7, r"-[1-9]"), (0, "0"), (12.5, r"[1-9]\d\.\d"), ("2024-03-01", r"\d{4}-\d\d-\d\d"),
        ("9:30", r"\d\d:\d\d"), ("12 * (3 + 4)", r"[1-9]\d \* \([1-9] \+ [1-9]\)"), ("B12", "B12"),
        (True, "True"), (None, "None"),
    ],
)  # fmt: skip
def test_fresh_values_keep_their_form(value: Any, form: str) -> None:
    for seed in range(30):
        assert re.fullmatch(form, str(fresh(value, random.Random(seed))))


def test_the_answer_of_a_variant_tells_its_own_result(tmp_path: Path) -> None:
    for made in varied(tmp_path, adding(21, 34, answer="21 and 34 make 55."), count=8):
        (call,) = made.calls
        assert made.answer == f"{call.arguments['first']} and {call.arguments['second']} make {made.results[0]}."


@pytest.mark.parametrize("answer", ["It is that.", "It is 55, that is 55.", "With 3 more it is 55."])
def test_an_answer_that_cannot_be_told_anew_is_left_out(tmp_path: Path, answer: str) -> None:
    variants = varied(tmp_path, adding(21, 34, answer=answer))
    assert [made.answer for made in variants] == [""] * 6


def test_a_request_that_states_a_value_twice_or_not_literally_has_no_variants(tmp_path: Path) -> None:
    assert varied(tmp_path, adding(21, 34, "Add {0} and {1}, I mean {0} and {1}.")) == []
    assert varied(tmp_path, trace("Add twenty-one and 34.", "add_prices", {"first": 21, "second": 34}, 55)) == []


def test_a_taken_or_held_out_request_is_not_made_again(tmp_path: Path) -> None:
    free = varied(tmp_path, KEPT)
    assert varied(tmp_path, KEPT, held_out=lambda request: request == free[0].request) != free
    assert varied(tmp_path, KEPT, held_out=lambda _: True) == []


def test_requests_without_a_call_and_counts_of_zero_make_nothing(tmp_path: Path) -> None:
    assert varied(tmp_path, trace("Tell me about foxes, please.")) == []
    assert varied(tmp_path, KEPT, count=0) == []


def test_a_call_that_fails_makes_no_variant(tmp_path: Path) -> None:
    class Refusing:
        registry = shop_tools.executor().registry

        def execute(self, call: ToolCall, **_: Any) -> Any:
            return shop_tools.executor().execute(call.model_copy(update={"name": "no_such_tool"}))

    stage = context(tmp_path, Refusing(), seed=1)  # type: ignore[arg-type]
    found = vary(stage, VaryConfig(), [KEPT], MADE)
    assert found.traces == 0
    assert found.dropped.get("call_unknown_tool", 0) > 0


def test_the_same_seed_gives_the_same_variants(tmp_path: Path) -> None:
    assert varied(tmp_path, KEPT, seed=3) == varied(tmp_path, KEPT, seed=3)
    assert varied(tmp_path, KEPT, seed=3, count=6) != varied(tmp_path, KEPT, seed=4, count=6)


@pytest.mark.parametrize(
    "value", [0, 1, 2, 12, 40, 41, 999, 1000, 1234567, -5, 2.5, 3.0, "some words", [4, 9, 7], ["a"]]
)
def test_whatever_is_said_states_the_value(value: Any) -> None:
    for seed in range(20):
        assert states(f"Is it {said(value, random.Random(seed))} or not", value)


def test_small_numbers_are_words_at_times() -> None:
    spoken = {said(4, random.Random(seed)) for seed in range(30)}
    assert spoken == {"4", SMALL_NUMBERS[4]}


@pytest.mark.parametrize("sign", ["%", " percent"])
@pytest.mark.parametrize("share", [0.25, 0.07, 0.125, 0.001, 1.5])
def test_a_share_that_was_said_in_percent_mostly_is_again(sign: str, share: float) -> None:
    text = f"Take 25{sign} off the price of 80."
    found = places(text, {"share": 0.25, "price": 80})
    assert found is not None
    (start, stop, name), _ = found
    assert (text[start:stop], name) == (f"25{sign}", "share")
    spoken = [said(share, random.Random(seed), like=text[start:stop]) for seed in range(40)]
    assert all(states(f"Take {one} off", share) for one in spoken)
    assert 20 < sum(one.endswith(sign) for one in spoken) < 40


@pytest.mark.parametrize("seed", range(6))
def test_what_stands_before_a_percent_sign_stays_in_digits(tmp_path: Path, seed: int) -> None:
    kept = trace("Add 21% and 34 prices.", "add_prices", {"first": 21, "second": 34}, 55)
    made = [kept, adding(4, 7), adding(8, 3)]
    assert all(
        re.match(r"Add \d+% and \w+ prices", one.request) for one in varied(tmp_path, kept, made=made, seed=seed)
    )


@pytest.mark.parametrize(
    ("text", "values", "plain"),
    [
        ("Take 5% of 80.", [0.05, 80], "Take 0.05 of 80."),
        ("Take 12.5 percent of 80.", [0.125, 80], "Take 0.125 of 80."),
        ("Take 5% of 80.", [5, 80], "Take 5% of 80."),
        ("Take 15% of 80.", [0.05, 80], "Take 15% of 80."),
    ],
)
def test_shares_may_be_told_plainly(text: str, values: list[Any], plain: str) -> None:
    assert plainly(text, values) == plain


def test_a_plain_share_and_what_is_in_percent_stay_so() -> None:
    for text, value in (("Take 0.25 off.", 0.25), ("Take 0.5% off.", 0.5), ("Take 25% off.", 25)):
        ((start, stop, _),) = places(text, {"share": value}) or ()
        assert said(value, random.Random(1), like=text[start:stop]) == str(value)


Town = Annotated[str, Known(("Ashford", "Millbrook", "Stony Creek"))]


@tool(effect="pure")
def ride_time(origin: Town, destination: Town, passenger: str) -> str:
    """Find how long the ride between two towns takes."""
    if {origin, destination} - {"Ashford", "Millbrook", "Stony Creek"}:
        raise ValueError("there is no such town")
    return f"{len(origin) + len(destination)} minutes"


def test_two_slots_of_one_kind_share_their_known_values_and_other_kinds_are_invented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shop_tools, "ride_time", ride_time, raising=False)
    tools = ToolRegistry([describe(ride_time).model_copy(update={"module": shop_tools.__name__})])
    ride = {"origin": "Ashford", "destination": "Millbrook", "passenger": "Ann"}
    source = trace("How long is the ride from Ashford to Millbrook for Ann?", "ride_time", ride, "16 minutes")
    stage = context(tmp_path, Executor(tools, InProcessSandbox()), seed=1)
    config = VaryConfig(per_value=4)
    vary(stage, config, [source], [source])
    calls = [call.arguments for made in read_lines(tmp_path / "varied.jsonl", Trace) for call in made.calls]
    assert len(calls) > 8
    towns = {"Ashford", "Millbrook", "Stony Creek"}
    assert {str(call["origin"]) for call in calls} == {str(call["destination"]) for call in calls} == towns
    assert len({str(call["passenger"]) for call in calls}) > 5


def test_one_variant_names_several_values_where_that_asks_for_several_calls(tmp_path: Path) -> None:
    texts = ("fragile glass", "keep dry", "this side up")
    made = [trace(f"Shout {text} on it.", "shout_label", {"label": text}, text.upper()) for text in texts]
    several = [one for one in varied(tmp_path, *made, made=made, count=1) if one.kind is TraceKind.PARALLEL]
    assert 1 <= len(several) <= 3
    for one in several:
        labels = [str(call.arguments["label"]) for call in one.calls]
        assert len(set(labels)) == len(labels) in (2, 3)
        assert re.fullmatch(r"Shout [\w ,]+ and [\w ]+ on it\.", one.request)
        assert all(label in one.request for label in labels)
        assert one.results == tuple(label.upper() for label in labels)
        assert (one.answer, bool(one.provenance.derived_from)) == ("", True)


@pytest.mark.parametrize(
    "source",
    [KEPT, trace("Find the heaviest parcel of 4, 9 and 7.", "heaviest_parcel", {"weights": [4, 9, 7]}, 9)],
    ids=["two numbers", "a list"],
)
def test_where_another_argument_could_be_meant_one_value_stays_one(tmp_path: Path, source: Trace) -> None:
    assert all(len(one.calls) == 1 for one in varied(tmp_path, source, made=[source, *MADE]))
