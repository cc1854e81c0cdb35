"""Every order can be sent to another machine, and says how much time is left, not until when."""

import pickle
from collections import Counter
from typing import Any

import pytest

from agent.config import LoopConfig, PromptConfig
from evolver.augmentation.values import Values
from evolver.augmentation.vary import VaryOrder
from evolver.config import MakeConfig
from evolver.crew.workshop import Rules, Workshop
from evolver.evaluation.evaluate import Asking, ScoreOrder
from evolver.evaluation.scoring import VariantOrder
from evolver.evaluation.soft_score import SoftScoring
from evolver.evaluation.suites import Item
from evolver.evaluation.suites.bfcl import BfclItem, BfclSuite
from evolver.evaluation.suites.bfcl_run import BfclOrder
from evolver.evaluation.suites.chat import DistanceOrder
from evolver.generation.back_translation import Batch
from evolver.generation.make import MakeOrder, _Job
from evolver.generation.no_tool_requests import NoToolRequests
from evolver.generation.self_consistency import Vote
from evolver.mining.uncertainty import SampleOrder
from evolver.model.client import Generator
from evolver.tool_making.generate import ToolOrder
from evolver.types import Task, TraceKind
from evolver.verification.check_traces import CheckTrace
from evolver.verification.verify import RoundTrip
from tests.fakes import shop_tools
from tests.fakes.evolution import trace
from tests.fakes.learner import Learner
from tests.fakes.model_server import ModelServer
from tests.fakes.stages import HeldOutTexts

TASK = Task(interaction_id="i", session="s", source="chat", request="add 2 and 3", outcome="answered", kind="talk")
TRACE = trace("Add the prices 2 and 3.", "add_prices", {"first": 2, "second": 3}, 5)
ITEM = Item(id="a", request="add 2 and 3", expected=TRACE.calls)
ASKING = Asking("base", LoopConfig(), PromptConfig())
BFCL = BfclItem(id="b", messages=({"role": "user", "content": "hi"},), functions=(), tools=(), names={})
BATCH = _Job("add_prices-0", TraceKind.BACK_TRANSLATION, Batch(MakeConfig(), "add_prices", 7))
ORDERS: list[Any] = [
    MakeOrder(BATCH, 5.0),
    MakeOrder(_Job("no_tool-0", TraceKind.NO_TOOL, NoToolRequests()), 5.0),
    MakeOrder(_Job("s-0", TraceKind.SELF_CONSISTENCY, Vote(TASK, 4)), 5.0),
    CheckTrace(TRACE),
    RoundTrip(TRACE),
    VaryOrder((TRACE,), 2, Values({("add_prices", "first"): [2]}, {}), frozenset({"x"}), 3),
    ScoreOrder(ITEM, ASKING, SoftScoring(PromptConfig(), "base", {"1": 0.5})),
    VariantOrder(ITEM, ASKING, "renamed"),
    BfclOrder(BFCL, BfclSuite(name="n", category="simple", sha256="", items=()), "base", 8),
    DistanceOrder("hi", "m"),
    SampleOrder("hi", "agent", PromptConfig(), 20),
    ToolOrder(MakeConfig(), TASK, 1),
]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: type(order).__name__)
def test_an_order_arrives_as_it_was_sent(order: Any) -> None:
    assert pickle.loads(pickle.dumps(order)) == order
    assert callable(order.do)


def test_an_order_that_comes_too_late_is_not_begun_and_one_in_time_ends_early() -> None:
    with ModelServer(script=Learner()) as server, Generator(server.url) as generator:
        workshop = Workshop(shop_tools.executor(), None, generator, Rules(HeldOutTexts()))  # type: ignore[arg-type]
        assert MakeOrder(BATCH, -1.0).do(workshop) == ([], Counter({"back_translation out_of_time": 1}))
        assert server.requests == []
        made, lost = MakeOrder(BATCH, 0.0).do(workshop)
        assert (made, lost["back_translation out_of_time"]) == ([], 1)
        assert len(server.requests) == 1, "arguments were sampled, and no request was written for them"
