"""From a person's correction to a lesson: mined, executed, and only then believed."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent.turn.messages import Feedback, Interaction
from evolver.config import MineConfig, VerifyConfig
from evolver.store.jsonl import read_lines
from evolver.types import Mined, Trace, Verdict
from evolver.verification.verify import verify
from tests.fakes import shop_tools
from tests.fakes.evolution import interaction, mined, trace, turn
from tests.fakes.stages import context

REQUEST = "Please add the prices 21 and 34."
RIGHT = ("add_prices", {"first": 21, "second": 34})
WRONG = ("add_prices", {"first": 21, "second": 3}, 24)


def corrected(expected: str, *calls: tuple[str, dict[str, Any], Any], number: int = 1) -> Interaction:
    logged = interaction(turn(REQUEST, *calls), number)
    word = Feedback.model_validate({"interaction_id": logged.id, "verdict": "bad", "expected": expected})
    return logged.model_copy(update={"feedback": (word,)})


def expecting(name: str, arguments: dict[str, Any]) -> str:
    return json.dumps([{"name": name, "arguments": arguments}])


def of(*logged: Interaction, before: tuple[Interaction, ...] = ()) -> Mined:
    return mined(MineConfig(), list(logged), context=before)


def verdict(folder: Path, *traces: Trace, **rest: Any) -> tuple[list[Trace], str]:
    executor = shop_tools.executor()
    found = verify(context(folder, executor, **rest), VerifyConfig(round_trip=False), traces)
    reasons = {one.trace_id: one.reason for one in read_lines(found.verdicts_file, Verdict)}
    return read_lines(found.file, Trace), reasons[traces[-1].id]


def test_a_correction_becomes_a_lesson_with_the_result_of_its_calls(tmp_path: Path) -> None:
    found = of(corrected(expecting(*RIGHT), WRONG))
    assert [task.kind for task in found.tasks] == ["corrected"]
    (candidate,) = found.worked
    assert (candidate.kind, candidate.results) == ("corrected", ())
    kept, reason = verdict(tmp_path, candidate)
    assert reason == ""
    assert [(one.calls[0].arguments, one.results) for one in kept] == [(RIGHT[1], (55,))]


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (("add_prices", {"first": "21", "second": 34}), "call_invalid_arguments"),
        (("add_numbers", {"first": 21, "second": 34}), "speaks_of_another_tool"),
        (("add_prices", {"first": 21, "second": 99}), "argument_not_stated"),
    ],
)
def test_what_does_not_hold_is_not_believed(tmp_path: Path, call: tuple[str, dict[str, Any]], reason: str) -> None:
    (candidate,) = of(corrected(expecting(*call), WRONG)).worked
    assert verdict(tmp_path, candidate) == ([], reason)


def test_it_stands_against_what_says_otherwise_in_the_same_words(tmp_path: Path) -> None:
    (candidate,) = of(corrected(expecting(*RIGHT), WRONG)).worked
    likelier = trace(REQUEST, "add_prices", {"first": 34, "second": 21}, 55, identity="other", mean_logprob=1.0)
    kept, reason = verdict(tmp_path, candidate, likelier)
    assert ([one.id for one in kept], reason) == ([candidate.id], "duplicate")


def test_a_text_corrects_the_answer_of_calls_that_worked(tmp_path: Path) -> None:
    (candidate,) = of(corrected("It is 55.", (*RIGHT, 55))).worked
    (kept,), _ = verdict(tmp_path, candidate)
    assert (kept.answer, kept.results) == ("It is 55.", (55,))


def test_a_text_does_not_correct_a_call_that_failed() -> None:
    from toolkit.tool import ToolErrorKind

    assert of(corrected("It is 55.", (*RIGHT, ToolErrorKind.TIMEOUT))).worked == ()


def test_the_last_word_counts() -> None:
    logged = corrected(expecting(*RIGHT), WRONG)
    bad = Feedback(interaction_id=logged.id, verdict="bad")
    assert of(logged.model_copy(update={"feedback": (*logged.feedback, bad)})).worked == ()


def test_a_turn_that_was_mined_before_it_was_corrected_still_counts() -> None:
    found = of(interaction(turn("Hello there."), 2), before=(corrected(expecting(*RIGHT), WRONG),))
    assert [one.kind for one in found.worked] == ["corrected"]
