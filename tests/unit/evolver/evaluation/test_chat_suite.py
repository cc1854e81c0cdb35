"""The distance to the base model: a lower bound of the divergence, over the words of the base model's own answer."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolver.crew.local import LocalCrew
from evolver.crew.workshop import Workshop
from evolver.errors import StageError
from evolver.evaluation.suites import Item, Suite, chat
from evolver.evaluation.suites.chat import divergence
from evolver.model.client import Generator
from tests.fakes.model_server import ModelServer, Says

SUITE = Suite(name="tiny", sha256="0" * 64, items=(Item(id="a", request="hello"), Item(id="b", request="good day")))
PREFIX, ANSWER = 3, 2


def position(**likely: float) -> dict[str, Any]:
    ranked = sorted(likely.items(), key=lambda pair: -pair[1])
    return {token: {"logprob": math.log(p), "rank": n} for n, (token, p) in enumerate(ranked, 1)}


def server(mine: list[dict[str, Any] | None], base: list[dict[str, Any] | None]) -> ModelServer:
    def script(request: dict[str, Any]) -> Says:
        import json

        if "prompt_logprobs" in request:
            read = mine if request["model"] == "m" else base
            return Says(raw=json.dumps({"choices": [], "prompt_logprobs": read}).encode())
        usage = {"prompt_tokens": PREFIX, "completion_tokens": ANSWER}
        choice = {"message": {"content": "Well."}, "finish_reason": "stop"}
        return Says(raw=json.dumps({"choices": [choice], "usage": usage}).encode())

    return ModelServer(script=script)


def crew(generator: Generator) -> LocalCrew:
    return LocalCrew(Workshop(None, None, generator), 1)  # type: ignore[arg-type]


def measured(mine: list[dict[str, Any] | None], base: list[dict[str, Any] | None]) -> Any:
    with server(mine, base) as running, Generator(running.url) as generator:
        return chat.drift(SUITE, "m", crew(generator)), running


EVEN = position(a=0.5, b=0.5)
SURE = position(a=0.9, b=0.1)


def test_only_the_words_of_the_answer_count() -> None:
    other = position(c=1.0)
    report, running = measured([None, other, other, SURE, SURE, other], [None, SURE, SURE, EVEN, EVEN, SURE])
    expected = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert report.kl == pytest.approx(expected)
    assert (report.prompts, report.tokens, report.kl_low, report.kl_high) == (
        2, 4, pytest.approx(expected), pytest.approx(expected),
    )  # fmt: skip
    asked = [request for request in running.requests if "prompt_logprobs" in request]
    assert {request["model"] for request in asked} == {"m", "base"}
    assert all(request["messages"][-1] == {"role": "assistant", "content": "Well."} for request in asked)


def test_the_base_model_is_no_distance_from_itself() -> None:
    report, _ = measured([None, None, None, SURE, EVEN], [None, None, None, SURE, EVEN])
    assert report.kl == 0
    assert (report.same_first.hits, report.same_first.n) == (4, 4)


def test_a_server_that_does_not_say_how_likely_is_an_error() -> None:
    with (
        ModelServer(script=lambda _: Says("Well.")) as running,
        Generator(running.url) as generator,
        pytest.raises(StageError, match="prompt_logprobs"),
    ):
        chat.drift(SUITE, "m", crew(generator))


def test_a_suite_without_requests_has_nothing_to_compare() -> None:
    with Generator("http://localhost") as generator, pytest.raises(StageError, match="no answer to compare"):
        chat.drift(SUITE.model_copy(update={"items": ()}), "m", crew(generator))


WEIGHTS = st.lists(st.floats(0.01, 1), min_size=6, max_size=6)


@settings(max_examples=200, deadline=None)
@given(WEIGHTS, WEIGHTS, st.integers(1, 6), st.integers(1, 6))
def test_what_is_known_of_two_models_never_says_more_than_all(
    first: list[float], second: list[float], seen: int, other: int
) -> None:
    p, q = ([weight / sum(weights) for weight in weights] for weights in (first, second))
    whole = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))

    def top(probabilities: list[float], k: int) -> dict[str, float]:
        ranked = sorted(enumerate(probabilities), key=lambda pair: -pair[1])
        return {str(token): probability for token, probability in ranked[:k]}

    assert 0 <= divergence(top(p, seen), top(q, other)) <= whole + 1e-6
    assert divergence(top(p, 6), top(q, 6)) == pytest.approx(whole, abs=1e-6)
