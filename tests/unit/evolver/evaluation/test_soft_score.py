"""The soft score: what is asked of the server, and what is made of its answer."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config import PromptConfig
from agent.errors import ModelError
from agent.turn.choice import JudgedTool, ToolChoice, chosen
from agent.turn.model_client import HttpModelClient
from evolver.crew.workshop import Workshop
from evolver.evaluation.evaluate import expected_results
from evolver.evaluation.soft_score import (
    LEAST,
    SoftScorer,
    SoftScoring,
    as_first,
    bias_of,
    call_likelihood,
    not_first,
    share,
)
from evolver.evaluation.suites import Item
from evolver.types import Call, Trace
from tests.fakes import shop_tools
from tests.fakes.evolution import a_manifest, publish_adapter, trace
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.read_prompt import CALL_TOKEN, PROMPT_TOKENS, read, reads_prompt
from toolkit.search import ToolIndex

EXECUTOR = shop_tools.executor()
ADD = Call(name="add_prices", arguments={"first": 2, "second": 3})
HEAVY = Call(name="heaviest_parcel", arguments={"weights": [5, 4]})
ASKED = Item(id="a", request="add prices 2 and 3", expected=(ADD,))
LOGITS = st.lists(st.floats(-20, 20), min_size=2, max_size=9)


class Reader:
    """Says the same of every answer; keeps the bodies that it was asked to read."""

    def __init__(self) -> None:
        self.answer = [-0.5, -0.25, -0.125]
        self.choice: ToolChoice | None = None
        self.chosen: list[dict[str, Any]] = []
        self.read: list[dict[str, Any]] = []
        self.counted: list[dict[str, Any]] = []

    def __call__(self, request: dict[str, Any]) -> Says:
        if "tool_choice" not in request and not reads_prompt(request):
            self.chosen.append(request)
            return Says("x", headers={"x-apprentice-choice": self.choice.model_dump_json()} if self.choice else {})
        if not reads_prompt(request):
            assert self.read, "what is read whole goes first, and fills the server's cache"
            self.counted.append(request)
            return Says("x")
        self.read.append(request)
        return read(self.answer)


@pytest.fixture
def reader() -> Iterator[tuple[Reader, HttpModelClient]]:
    reader = Reader()
    with ModelServer(script=reader) as server, HttpModelClient(server.url) as client:
        yield reader, client


def scored(client: HttpModelClient, item: Item, bias: dict[str, float] | None = None, shown: int = 3) -> float:
    prompt = PromptConfig(tools_in_prompt=shown, judge_tools=True)
    scorer = SoftScorer(client, ToolIndex(EXECUTOR.registry), prompt, "adapter-0001", bias or {})
    return scorer(item, expected_results(item, EXECUTOR))


def test_a_call_scores_the_tokens_of_its_answer_and_no_others(reader: tuple[Reader, HttpModelClient]) -> None:
    assert scored(reader[1], ASKED) == pytest.approx(-0.875)


def test_the_server_reads_the_prompt_that_it_serves_and_the_call_as_lessons_have_it(
    reader: tuple[Reader, HttpModelClient],
) -> None:
    scored(reader[1], ASKED)
    (counted,), (body,) = reader[0].counted, reader[0].read
    shown = [tool.schema() for tool in ToolIndex(EXECUTOR.registry).top(ASKED.request, 3)]
    assert counted["tools"] == body["tools"] == shown
    assert counted["messages"] == body["messages"][:1] == [{"role": "user", "content": ASKED.request}]
    assert body["messages"][1]["tool_calls"][0]["function"] == {
        "name": "add_prices",
        "arguments": '{"first": 2, "second": 3}',
    }
    assert (body["model"], body["add_generation_prompt"], body["prompt_logprobs"]) == ("adapter-0001", False, 0)
    assert "add_generation_prompt" not in counted


def test_a_request_without_a_tool_scores_the_chance_of_not_calling(reader: tuple[Reader, HttpModelClient]) -> None:
    reader[0].answer = [math.log(0.25), -3.0]
    talk = Item(id="t", request="hello")
    assert scored(reader[1], talk) == pytest.approx(math.log(0.75))
    biased = scored(reader[1], talk, {str(CALL_TOKEN): math.log(3)})
    assert biased == pytest.approx(math.log(0.5)), "odds of 1 to 3 become 3 to 3"


def test_the_bias_counts_once_where_the_answer_begins(reader: tuple[Reader, HttpModelClient]) -> None:
    reader[0].answer = [math.log(0.25), -0.5]
    found = scored(reader[1], ASKED, {str(CALL_TOKEN): math.log(3), str(CALL_TOKEN + 1): 4.0})
    assert found == pytest.approx(math.log(0.5) - 0.5)


def test_a_tool_that_is_not_shown_cannot_be_called(reader: tuple[Reader, HttpModelClient]) -> None:
    hidden = Item(id="h", request=ASKED.request, expected=(HEAVY,))
    assert scored(reader[1], hidden, shown=1) == LEAST
    assert reader[0].read == []


def test_how_far_out_of_reach_an_answer_is_says_nothing(reader: tuple[Reader, HttpModelClient]) -> None:
    reader[0].answer = [-70.0]
    assert scored(reader[1], ASKED) == LEAST
    reader[0].answer = [0.0]
    assert scored(reader[1], Item(id="t", request="hello")) == LEAST


def test_calls_together_are_one_answer_and_ordered_ones_follow_each_others_results(
    reader: tuple[Reader, HttpModelClient],
) -> None:
    both = Item(id="b", request="add prices 2 and 3, and the heaviest parcel of 5 and 4", expected=(ADD, HEAVY))
    assert scored(reader[1], both, shown=7) == pytest.approx(-0.875)
    assert len(reader[0].read[0]["messages"][1]["tool_calls"]) == 2
    reader[0].read.clear()
    assert scored(reader[1], both.model_copy(update={"ordered": True}), shown=7) == pytest.approx(-1.75)
    assert [[message["role"] for message in body["messages"]] for body in reader[0].read] == [
        ["user", "assistant"],
        ["user", "assistant", "tool", "assistant"],
    ]
    assert reader[0].read[1]["messages"][2]["content"] == "5"


def test_a_server_that_gives_no_log_probabilities_is_an_error() -> None:
    with (
        ModelServer(script=lambda _: Says("x")) as server,
        HttpModelClient(server.url) as client,
        pytest.raises(ModelError, match="no log-probabilities of the prompt"),
    ):
        scored(client, ASKED)


@given(LOGITS, st.floats(-10, 10))
def test_a_bias_is_added_to_the_logit_of_the_first_token(logits: list[float], bias: float) -> None:
    total = math.fsum(map(math.exp, logits))
    logprob = logits[0] - math.log(total)
    served = [logits[0] + bias, *logits[1:]]
    chance = math.exp(served[0]) / math.fsum(map(math.exp, served))
    assert math.exp(as_first(1, logprob, {"1": bias})) == pytest.approx(chance, abs=1e-9)
    assert math.exp(not_first(1, logprob, {"1": bias})) == pytest.approx(1 - chance, abs=1e-9)
    assert as_first(1, logprob, {"2": bias}) == pytest.approx(logprob)


def test_the_bias_is_that_of_the_manifest(tmp_path: Path) -> None:
    publish_adapter(tmp_path, "adapter-0001")
    assert bias_of("base", tmp_path) == bias_of("adapter-0009", tmp_path) == bias_of("adapter-0001", tmp_path) == {}
    fit = {
        "token_id": 44,
        "bias": -1.5,
        "auc": 1,
        "call_accuracy": 1,
        "no_call_accuracy": 1,
        "n_call": 9,
        "n_no_call": 9,
    }
    manifest = a_manifest("adapter-0002", {}).model_dump() | {"calibration": fit}
    folder = tmp_path / "adapters" / "adapter-0002"
    folder.mkdir()
    (folder / "manifest.json").write_text(type(a_manifest("a", {})).model_validate(manifest).model_dump_json())
    assert bias_of("adapter-0002", tmp_path) == {"44": -1.5}


def test_a_prompt_is_as_long_as_the_server_counts_it(reader: tuple[Reader, HttpModelClient]) -> None:
    assert len(reader[1].read_prompt({"model": "m", "messages": []})) == PROMPT_TOKENS - 1 + 3 + 1


def likelihood(client: HttpModelClient, one: Trace) -> float | None:
    workshop = Workshop(EXECUTOR, client, None)  # type: ignore[arg-type]
    return call_likelihood(SoftScoring(PromptConfig(), "adapter-0001", {}), workshop, one)


def test_a_trace_is_asked_about_like_a_request_of_a_suite(reader: tuple[Reader, HttpModelClient]) -> None:
    taught = trace("add prices 2 and 3", ADD.name, ADD.arguments, 5)
    assert likelihood(reader[1], taught) == pytest.approx(-0.875)
    assert likelihood(reader[1], taught.model_copy(update={"results": ()})) is None


def test_the_likelihood_of_what_the_server_refuses_is_not_known() -> None:
    with ModelServer(script=lambda _: Says("no", status=400)) as server, HttpModelClient(server.url) as client:
        assert likelihood(client, trace("add prices 2 and 3", ADD.name, ADD.arguments, 5)) is None


BIAS = {"1": 0.0}


def judged(**margins: float) -> ToolChoice:
    return chosen([JudgedTool(name=name, margin=margin, search=0.0) for name, margin in margins.items()])


def in_prompt(body: dict[str, Any]) -> list[str]:
    return [tool["function"]["name"] for tool in body["tools"]]


def test_where_the_model_chooses_the_prompt_shows_what_is_expected_and_its_share_counts(
    reader: tuple[Reader, HttpModelClient],
) -> None:
    reader[0].choice = judged(heaviest_parcel=math.log(3.0), add_prices=0.0)
    assert scored(reader[1], ASKED, BIAS) == pytest.approx(-0.875 + math.log(0.25))
    assert in_prompt(reader[0].read[-1]) == ["add_prices"]
    (asked,) = reader[0].chosen
    assert (len(asked["tools"]), asked["max_tokens"], bool(asked["further_tools"])) == (3, 1, True)


def test_a_tool_that_was_not_judged_is_out_of_reach(reader: tuple[Reader, HttpModelClient]) -> None:
    reader[0].choice = judged(heaviest_parcel=1.0, box_count=0.0)
    assert scored(reader[1], ASKED, BIAS) == LEAST


def test_a_request_without_a_tool_is_read_with_the_tools_that_are_chosen(
    reader: tuple[Reader, HttpModelClient],
) -> None:
    reader[0].choice = judged(look_outside=1.0, ring_bell=0.0)
    scored(reader[1], Item(id="b", request="hello"), BIAS)
    assert in_prompt(reader[0].read[-1]) == ["look_outside"]


@given(st.lists(st.floats(-20, 20), min_size=2, max_size=6))
def test_the_shares_of_all_candidates_are_one(margins: list[float]) -> None:
    names = [f"t{n}" for n in range(len(margins))]
    choice = judged(**dict(zip(names, margins, strict=True)))
    assert math.fsum(math.exp(share(choice, {name})) for name in names) == pytest.approx(1.0)
