"""Scores: calls are judged by what they return; rates come with honest intervals."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.config import LoopConfig, PromptConfig
from agent.errors import ModelUnavailable
from agent.loop import Agent
from agent.messages import Message, Trajectory
from agent.model_client import HttpModelClient
from evolver.evaluate import evaluate, report, score
from evolver.suites import Item, Suite
from evolver.types import Call, EvalReport, ItemScore
from evolver.wilson import rate
from tests.fakes import shop_tools
from tests.fakes.evolution import turn
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.sandbox import InProcessSandbox
from toolkit.declare import tool
from toolkit.describing import describe
from toolkit.execute import Executor
from toolkit.registry import ToolRegistry
from toolkit.search import ToolIndex
from toolkit.tool import ToolErrorKind

EXECUTOR = shop_tools.executor()
ADD = Call(name="add_prices", arguments={"first": 2, "second": 3})
BOXES = Call(name="box_count", arguments={"eggs": 12, "box_size": 6})
RAN_ADD = ("add_prices", {"first": 2, "second": 3}, 5)
RAN_BOXES = ("box_count", {"eggs": 12, "box_size": 6}, 2)


def judged(logged: Trajectory, *expected: Call) -> ItemScore:
    return score(Item(id="i", request="r", expected=expected), logged, EXECUTOR)


@pytest.mark.parametrize(
    ("logged", "exact", "right_tool"),
    [
        (turn("r", RAN_ADD), True, True),
        (turn("r", ("add_prices", {"first": 3, "second": 2}, 5)), True, True),
        (turn("r", RAN_ADD, RAN_ADD), True, True),
        (turn("r", ("add_prices", {"first": 2, "second": 4}, 6)), False, True),
        (turn("r", RAN_ADD, ("add_prices", {"first": 2, "second": 4}, 6)), False, False),
        (turn("r", ("box_count", {"eggs": 5, "box_size": 1}, 5)), False, False),
        (turn("r", ("add_prices", {}, ToolErrorKind.INVALID_ARGUMENTS)), False, True),
        (turn("r", ("add_prices", {}, ToolErrorKind.INVALID_ARGUMENTS), RAN_ADD), False, False),
        (turn("r", answer="It is 5."), False, False),
    ],
)
def test_one_expected_call(logged: Trajectory, exact: bool, right_tool: bool) -> None:
    found = judged(logged, ADD)
    assert (found.exact, found.right_tool, found.needs_tool) == (exact, right_tool, True)


@pytest.mark.parametrize(
    ("logged", "exact"),
    [
        (turn("r", RAN_ADD, RAN_BOXES), True),
        (turn("r", RAN_BOXES, RAN_ADD), True),
        (turn("r", RAN_BOXES), False),
    ],
)
def test_several_expected_calls_in_any_order(logged: Trajectory, exact: bool) -> None:
    assert judged(logged, ADD, BOXES).exact is exact


@tool(effect="reads")
def spin_wheel(slots: int) -> float:
    """Spin the wheel at the fair."""
    return time.monotonic()


def test_a_tool_that_reads_what_changes_is_judged_by_its_arguments() -> None:
    executor = Executor(ToolRegistry([describe(spin_wheel)]), InProcessSandbox())
    item = Item(id="i", request="r", expected=(Call(name="spin_wheel", arguments={"slots": 8}),))
    right, wrong = (turn("r", ("spin_wheel", {"slots": slots}, 99.5)) for slots in (8, 9))
    failed = turn("r", ("spin_wheel", {"slots": 8}, ToolErrorKind.TIMEOUT))
    assert [score(item, logged, executor).exact for logged in (right, wrong, failed)] == [True, False, False]


def test_a_request_that_needs_no_tool() -> None:
    silent, calling = judged(turn("r")), judged(turn("r", RAN_ADD))
    assert (silent.needs_tool, silent.called, silent.exact, silent.right_tool) == (False, False, False, False)
    assert calling.called
    assert not calling.exact


@pytest.mark.parametrize(
    ("kind", "malformed"),
    [
        (ToolErrorKind.MALFORMED_CALL, True),
        (ToolErrorKind.INVALID_ARGUMENTS, True),
        (ToolErrorKind.UNKNOWN_TOOL, True),
        (ToolErrorKind.TOOL_FAILED, False),
        (ToolErrorKind.TIMEOUT, False),
    ],
)
def test_what_counts_as_malformed(kind: ToolErrorKind, malformed: bool) -> None:
    assert judged(turn("r", ("add_prices", {}, kind)), ADD).malformed is malformed


def test_what_the_model_did_is_kept_in_short() -> None:
    assert judged(turn("r", RAN_ADD), ADD).seen == 'add_prices {"first": 2, "second": 3}'
    assert judged(turn("r", answer="x" * 9999)).seen == "x" * 300
    assert judged(turn("r", stop_reason="failed", answer="")).failed


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 5000), st.data())
def test_the_interval_is_wilsons(n: int, data: st.DataObject) -> None:
    """Both ends solve Wilson's equation (p - share)^2 = z^2 p (1 - p) / n."""
    hits = data.draw(st.integers(0, n))
    found = rate(hits, n)
    share = hits / n
    assert found.value == share
    assert 0 <= found.low <= share + 1e-12
    assert share - 1e-12 <= found.high <= 1
    for end in (found.low, found.high):
        assert (end - share) ** 2 == pytest.approx(1.959963984540054**2 * end * (1 - end) / n, abs=1e-12)
    assert rate(n - hits, n).low == pytest.approx(1 - found.high)


def test_the_interval_of_nothing_says_nothing() -> None:
    found = rate(0, 0)
    assert (found.low, found.high, found.value) == (0, 1, 0)


def test_each_rate_is_over_its_own_requests() -> None:
    def item(identity: str, **changes: bool) -> ItemScore:
        flags = {"needs_tool": True, "exact": False, "right_tool": False, "called": True, "malformed": False, **changes}
        return ItemScore(id=identity, **flags)

    items = [
        item("a", exact=True, right_tool=True),
        item("b", right_tool=True, malformed=True),
        item("c", called=False, failed=True),
        item("d", needs_tool=False, called=False),
        item("e", needs_tool=False),
    ]
    found = report(SUITE, "m", items)
    shown = {name: (getattr(found, name).hits, getattr(found, name).n) for name in ("exact", "right_tool", "no_call")}
    assert shown == {"exact": (1, 3), "right_tool": (2, 3), "no_call": (1, 2)}
    assert ((found.malformed.hits, found.malformed.n), found.failed) == ((1, 5), 1)


SUITE = Suite(
    name="tiny",
    sha256="0" * 64,
    items=(
        Item(id="add", request="add 2 and 3", expected=(ADD,)),
        Item(id="boxes", request="boxes for 12 eggs", expected=(BOXES,)),
        Item(id="talk", request="hello"),
    ),
)


class _Clever:
    """Calls what the suite expects; ``broken`` requests are refused by the server."""

    def __init__(self) -> None:
        self.broken: set[str] = set()

    def __call__(self, request: dict[str, object]) -> Says:
        messages = request["messages"]
        assert isinstance(messages, list)
        asked = messages[0]["content"]
        if asked in self.broken:
            return Says("no such model", status=404)
        if messages[-1]["role"] == "tool":
            return Says("Done.")
        if asked == "add 2 and 3":
            return Says(calls=[("add_prices", '{"first": 2, "second": 3}')])
        if asked == "boxes for 12 eggs":
            return Says(calls=[("box_count", '{"eggs": 12, "box_size": "six"}')])
        return Says("Hello!")


@pytest.fixture
def model() -> Iterator[tuple[_Clever, ModelServer]]:
    clever = _Clever()
    with ModelServer(script=clever) as server:
        yield clever, server


def run(
    server: ModelServer, executor: Executor, file: Path | None = None, shares: list[float] | None = None
) -> EvalReport:
    with HttpModelClient(server.url) as client:
        agent = Agent(client, executor, ToolIndex(executor.registry), LoopConfig(max_steps=3), PromptConfig())
        return evaluate(
            SUITE,
            "m",
            agent,
            executor,
            concurrency=2,
            file=file,
            on_progress=(shares if shares is not None else []).append,
        )


def test_a_suite_is_asked_through_the_loop_that_serves(model: tuple[_Clever, ModelServer]) -> None:
    shares: list[float] = []
    found = run(model[1], EXECUTOR, shares=shares)
    assert [(item.id, item.exact, item.malformed, item.called) for item in found.items] == [
        ("add", True, False, True),
        ("boxes", False, True, True),
        ("talk", False, False, False),
    ]
    assert (found.model, found.suite, found.suite_sha256) == ("m", "tiny", "0" * 64)
    assert shares == pytest.approx([1 / 3, 2 / 3, 1])
    assert {request["model"] for request in model[1].requests} == {"m"}
    assert all(request["temperature"] == 0 for request in model[1].requests)


def test_answers_on_file_are_not_asked_again(model: tuple[_Clever, ModelServer], tmp_path: Path) -> None:
    file = tmp_path / "scores.jsonl"
    first = run(model[1], EXECUTOR, file)
    asked = len(model[1].requests)
    assert run(model[1], EXECUTOR, file) == first
    assert len(model[1].requests) == asked
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:2]) + lines[2][:10])
    assert run(model[1], EXECUTOR, file) == first
    assert {request["messages"][0]["content"] for request in model[1].requests[asked:]} == {"hello"}


def test_what_could_not_be_judged_is_asked_again_the_next_time(
    model: tuple[_Clever, ModelServer], tmp_path: Path
) -> None:
    clever, server = model
    clever.broken = {"hello"}
    assert run(server, EXECUTOR, tmp_path / "scores.jsonl").failed == 1
    clever.broken = set()
    assert run(server, EXECUTOR, tmp_path / "scores.jsonl").failed == 0


def test_without_a_server_there_is_no_score(tmp_path: Path) -> None:
    with ModelServer() as server:
        pass
    with pytest.raises(ModelUnavailable):
        run(server, EXECUTOR, tmp_path / "scores.jsonl")
    assert not (tmp_path / "scores.jsonl").exists()


def test_messages_without_results_are_judged_too() -> None:
    cut = turn("r", RAN_ADD, answer="")
    cut = cut.model_copy(update={"messages": (*cut.messages, Message(role="assistant", content=""))})
    assert judged(cut, ADD).exact
