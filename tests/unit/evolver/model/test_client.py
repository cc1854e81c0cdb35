"""What is asked of the server to make text, and what comes back."""

import json
import re
from typing import Any

import pytest

from agent.errors import ModelUnavailable
from evolver.errors import StageError
from evolver.model.client import Completion, Generator, Prompt
from tests.fakes.model_server import ModelServer, Says, serving


def completion(*texts: str, **choice: Any) -> Says:
    choices = [{"text": text, "finish_reason": "stop", "logprobs": None, **choice} for text in texts]
    return Says(raw=json.dumps({"choices": choices}).encode())


NESTED = {"type": "object", "properties": {"place": {"type": "object"}}}


def test_a_prompt_goes_over_the_wire_with_its_constraints() -> None:
    with (
        serving(completion("a", "b"), completion("c"), completion("d"), completion("e"), completion("f")) as server,
        Generator(server.url) as generator,
    ):
        assert [c.text for c in generator.complete(Prompt(text="go on", n=2, max_tokens=9))] == ["a", "b"]
        generator.complete(Prompt(text="t", stop=(), json_schema=NESTED))
        generator.complete(Prompt(text="t", json_schema={"properties": {"n": {"type": "integer"}}}))
        generator.complete(Prompt(text="t", regex="a+"))
        generator.complete(Prompt(text="t", grammar='root ::= "a"'))
    plain, schema, flat, pattern, grammar = server.requests
    assert {**plain, "temperature": 0} == {
        "model": "base",
        "prompt": "go on",
        "n": 2,
        "max_tokens": 9,
        "temperature": 0,
        "logprobs": 1,
        "stop": ["\n"],
    }
    assert "stop" not in schema
    assert schema["structured_outputs"] == {"json": NESTED}
    assert re.fullmatch(flat["structured_outputs"]["regex"], '{"n": -3}')
    assert pattern["structured_outputs"] == {"regex": "a+"}
    assert grammar["structured_outputs"] == {"grammar": 'root ::= "a"'}
    assert {headers["x-apprentice-log"] for headers in server.headers} == {"no"}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, Completion(text="a", mean_logprob=0.0, finished=True)),
        ({"finish_reason": "length"}, Completion(text="a", mean_logprob=0.0, finished=False)),
        (
            {"logprobs": {"token_logprobs": [None, -1.0, -2.0]}},
            Completion(text="a", mean_logprob=-1.5, finished=True),
        ),
    ],
)
def test_how_sure_and_how_whole_a_completion_is(choice: dict[str, Any], expected: Completion) -> None:
    with serving(completion("a", **choice)) as server, Generator(server.url) as generator:
        assert generator.complete(Prompt(text="t")) == [expected]


def test_a_reply_is_asked_for_without_tools_and_greedily() -> None:
    with serving(Says("Hello."), Says("cut", finish_reason="length")) as server, Generator(server.url) as generator:
        assert generator.reply("hi", max_tokens=7) == Completion(text="Hello.", mean_logprob=0.0, finished=True)
        assert not generator.reply("hi", max_tokens=7).finished
    asked = server.requests[0]
    assert (asked["temperature"], asked["max_tokens"], "tools" in asked) == (0, 7, False)


def test_a_refusal_is_the_stages_failure_and_silence_is_infrastructure() -> None:
    with serving(Says("too long", status=400), Says("x", break_off=True)) as server, Generator(server.url) as generator:
        with pytest.raises(StageError, match=r"400.*too long"):
            generator.complete(Prompt(text="t"))
        with pytest.raises(ModelUnavailable, match="went away"):
            generator.reply("t", max_tokens=1)
    with ModelServer() as gone:
        pass
    with Generator(gone.url) as generator, pytest.raises(ModelUnavailable, match="agent serve"):
        generator.complete(Prompt(text="t"))
