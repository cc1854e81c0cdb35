"""Requests from the log, and the call that most samples agree on."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver.crew.workshop import Rules, Workshop
from evolver.generation.self_consistency import Vote, open_requests
from evolver.lessons.drop_reason import DropReason
from evolver.model.client import Generator
from evolver.types import Call, Task, TaskKind, Trace
from tests.fakes import shop_tools
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.sandbox import InProcessSandbox
from tests.fakes.stages import HeldOutTexts
from toolkit.execute import Executor
from toolkit.registry import ToolRegistry
from toolkit.tool import Tool

TOOLS = [tool for tool in shop_tools.registry() if tool.name not in ("ring_bell", "look_outside")]


def task(request: str, kind: TaskKind = "talk", *calls: Call, number: int = 1) -> Task:
    return Task(
        interaction_id=f"{number}-0",
        session="s",
        source="chat",
        request=request,
        outcome="answered",
        kind=kind,
        calls=calls,
    )


ADDING = task("Add the prices 21 and 34 please.")
FORWARD, BACKWARD, OTHER = {"first": 21, "second": 34}, {"first": 34, "second": 21}, {"first": 21, "second": 3}


class Sampler:
    """A model whose samples for a tool are what the test says; "" for all others."""

    def __init__(self) -> None:
        self.samples: dict[str, Sequence[Any]] = {}
        self.asked: list[str] = []

    def __call__(self, request: dict[str, Any]) -> Says:
        prompt = request["prompt"]
        name = max((tool.name for tool in TOOLS), key=lambda name: prompt.rfind(f"{name}("))
        self.asked.append(name)
        said = [self.samples.get(name, [])[n : n + 1] or [""] for n in range(request["n"])]
        choices = [
            {
                "text": text if isinstance(text, str) else json.dumps(text),
                "finish_reason": "stop",
                "logprobs": {"token_logprobs": [None, -1.0 - n]},
            }
            for n, (text,) in enumerate(said)
        ]
        return Says(raw=json.dumps({"choices": choices}).encode())


@pytest.fixture
def sampler() -> Sampler:
    return Sampler()


@pytest.fixture
def generator(sampler: Sampler) -> Iterator[Generator]:
    with ModelServer(script=sampler) as server, Generator(server.url, concurrency=1) as opened:
        yield opened


def workshop_of(tools: Sequence[Tool], generator: Generator, *, allow_reads: bool = False) -> Workshop:
    executor = Executor(ToolRegistry(tools), InProcessSandbox())
    return Workshop(executor, None, generator, Rules(HeldOutTexts(), allow_reads=allow_reads))  # type: ignore[arg-type]


def made(generator: Generator, asked: Task = ADDING, samples: int = 4) -> tuple[list[Trace], dict[str, int]]:
    dropped: Counter[DropReason] = Counter()
    workshop = workshop_of(TOOLS, generator)
    return Vote(asked, samples).make(workshop, dropped, lambda: False), dict(dropped)


def test_samples_that_return_the_same_agree_whatever_their_arguments(sampler: Sampler, generator: Generator) -> None:
    sampler.samples["add_prices"] = [OTHER, BACKWARD, FORWARD, FORWARD]
    ((found,), _) = made(generator)
    assert found.calls == (Call(name="add_prices", arguments=BACKWARD),), "the likeliest of those that agree"
    assert (found.results, found.request, found.provenance.interaction_id) == ((55,), ADDING.request, "1-0")
    assert (found.kind, found.mean_logprob) == ("self_consistency", -2.0)


@pytest.mark.parametrize(
    ("samples", "why"),
    [
        ([FORWARD, FORWARD, OTHER, OTHER], "no_majority"),
        ([FORWARD, FORWARD, "{", '{"first": 21}'], "no_majority"),
        ([OTHER] * 4, "argument_not_stated"),
        (["3"] * 4, "no_majority"),
    ],
)
def test_without_a_clear_majority_that_the_request_states_there_is_none(
    sampler: Sampler, generator: Generator, samples: list[Any], why: str
) -> None:
    sampler.samples["add_prices"] = samples
    found, dropped = made(generator)
    assert found == []
    assert dropped[why] == 1 + (why == "no_majority")
    assert sum(dropped.values()) == 2


def test_what_the_model_spoke_of_itself_is_tried_first(sampler: Sampler, generator: Generator) -> None:
    made(generator)
    found_by_search = list(sampler.asked)
    assert found_by_search[0] == "add_prices"
    sampler.asked.clear()
    made(
        generator,
        task(ADDING.request, "missed", Call(name="keep_receipt", arguments={}), Call(name="no", arguments={})),
    )
    assert sampler.asked == ["keep_receipt", "add_prices"]


def test_a_call_that_states_nothing_shows_nothing() -> None:
    reads = [tool for tool in shop_tools.registry() if tool.name == "look_outside"]
    with (
        ModelServer(script=lambda request: Says(raw=choices_of("{}", request["n"]))) as server,
        Generator(server.url) as always,
    ):
        dropped: Counter[DropReason] = Counter()
        asked = Vote(task("Say what can be seen from the window."), samples=4)
        assert asked.make(workshop_of(reads, always, allow_reads=True), dropped, lambda: False) == []
        assert dropped == {"not_grounded": 1}


def choices_of(text: str, count: int) -> bytes:
    return json.dumps({"choices": [{"text": text, "finish_reason": "stop", "logprobs": None}] * count}).encode()


KINDS = st.sampled_from(["worked", "repaired", "failed", "missed", "uncertain", "unserved", "talk"])


@given(st.lists(KINDS, max_size=12), st.integers(0, 12))
def test_those_that_hide_a_call_come_first_and_what_worked_never(kinds: list[TaskKind], most: int) -> None:
    tasks = [task(f"request {n}", kind, number=n) for n, kind in enumerate(kinds)]
    chosen = open_requests(tasks, most)
    assert len(chosen) == min(most, sum(kind not in ("worked", "repaired") for kind in kinds))
    assert {one.kind for one in chosen} <= {"failed", "missed", "uncertain", "unserved", "talk"}
    if "missed" in kinds and most:
        assert chosen[0].kind == "missed"
