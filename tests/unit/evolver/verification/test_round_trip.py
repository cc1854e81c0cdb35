"""Shown the request of a trace, the model must arrive at the same result."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evolver.model.client import Generator
from evolver.types import TraceKind
from tests.fakes.evolution import trace
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.sandbox import InProcessSandbox
from tests.fakes.verdicts import GOOD, PARCEL, TALK, WORDINGS, judged, reason
from toolkit.config import ToolkitConfig
from toolkit.execute import Executor
from toolkit.sources import load_local_tools


class Reader:
    """A model that, shown a request, answers with the arguments that the test gave for it."""

    def __init__(self, **arguments: Any) -> None:
        self.arguments: dict[str, Any] = arguments
        self.asked: list[dict[str, Any]] = []

    def __call__(self, request: dict[str, Any]) -> Says:
        self.asked.append(request)
        known = [text for text in self.arguments if text in request["prompt"]]
        said = self.arguments[max(known, key=request["prompt"].rfind)]
        text = said if isinstance(said, str) else json.dumps(said)
        choice = {"text": text, "finish_reason": "stop", "logprobs": None}
        return Says(raw=json.dumps({"choices": [choice] * request["n"]}).encode())


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def generator(reader: Reader) -> Iterator[Generator]:
    with ModelServer(script=reader) as server, Generator(server.url, concurrency=2) as opened:
        yield opened


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"first": 21, "second": 34}, ""),
        ({"first": 34, "second": 21}, ""),
        ({"first": 21, "second": 35}, "round_trip_differs"),
        ({"first": 21}, "round_trip_differs"),
        ('{"first": 21, "sec', "round_trip_differs"),
    ],
)
def test_shown_the_request_the_model_must_arrive_at_the_same_result(
    tmp_path: Path, reader: Reader, generator: Generator, said: object, why: str
) -> None:
    reader.arguments = {GOOD.request: said}
    assert reason(tmp_path, GOOD, generator=generator) == why
    (asked,) = reader.asked
    assert asked["temperature"] == 0
    assert re.findall(r'"(\w+)": ', asked["structured_outputs"]["regex"]) == ["first", "second"]


def test_shares_in_percent_are_told_plainly_to_the_model(tmp_path: Path, reader: Reader, generator: Generator) -> None:
    arguments = {"salary": 3000, "raise_rate": 0.04}
    spoken = trace("What is a salary of 3000 after a raise of 4%?", "salary_after_raise", arguments, 3120.0)
    reader.arguments = {"What is a salary of 3000 after a raise of 0.04?": arguments}
    executor = Executor(load_local_tools(ToolkitConfig()), InProcessSandbox())
    _, kept, _ = judged(tmp_path, spoken, generator=generator, executor=executor)
    assert kept == [spoken]
    assert len(reader.asked) == 1


def test_talk_and_logged_turns_make_no_round_trip(tmp_path: Path, reader: Reader, generator: Generator) -> None:
    logged = GOOD.model_copy(update={"kind": TraceKind.LOGGED})
    _, kept, _ = judged(tmp_path, logged, TALK, generator=generator)
    assert kept == [logged, TALK]
    assert reader.asked == []


def test_only_the_likeliest_few_of_a_call_are_tried(tmp_path: Path, reader: Reader, generator: Generator) -> None:
    reader.arguments = {w.request: {"first": 21, "second": 34} for w in WORDINGS}
    reader.arguments[WORDINGS[0].request] = {"first": 0, "second": 0}
    _, kept, reasons = judged(tmp_path, *WORDINGS, generator=generator)
    assert kept == [WORDINGS[1]]
    assert reasons == {
        "0": "round_trip_differs",
        "1": "",
        "2": "call_has_a_likelier_request",
        "3": "call_has_a_likelier_request",
    }
    assert len(reader.asked) == 2


def test_progress_rises_to_the_end(tmp_path: Path, reader: Reader, generator: Generator) -> None:
    reader.arguments = {
        GOOD.request: {"first": 21, "second": 34},
        PARCEL.request: {"weights": [9]},
    }
    shares: list[float] = []
    judged(
        tmp_path,
        GOOD,
        PARCEL,
        TALK,
        generator=generator,
        say=lambda share, _: shares.append(share),
    )
    assert shares == sorted(shares)
    assert max(share for share in shares if share < 1) < 0.9
    assert shares[-1] == 1.0
    assert len(set(shares)) > 3


def test_where_no_value_can_be_mistaken_the_model_is_not_asked(tmp_path: Path) -> None:
    with ModelServer(script=lambda _: Says("nothing", status=500)) as server, Generator(server.url) as generator:
        assert reason(tmp_path, PARCEL, generator=generator) == ""
    assert server.requests == []
