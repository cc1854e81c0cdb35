"""A suite's name leads to what is asked, and to where it is kept."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from agent.config import AgentConfig, PromptConfig, VllmConfig
from agent.interaction_log import InteractionLog
from agent.model_client import HttpModelClient
from evolver import suites
from evolver.config import Config, EvaluateConfig, EvolverConfig
from evolver.jsonl import append_lines
from evolver.scoring import Report, replayed, score_suite, served
from evolver.suites import Item, bfcl
from evolver.types import Call, EvalReport
from tests.fakes import shop_tools
from tests.fakes.evolution import trace, turn
from tests.fakes.model_server import ModelServer, Says
from toolkit.errors import UserError
from toolkit.tool import ToolErrorKind

ADD = Call(name="add_prices", arguments={"first": 2, "second": 3})
ITEMS = [Item(id="a", request="add prices 2 and 3", expected=(ADD,)), Item(id="b", request="hello")]


class World:
    def __init__(self, data: Path, server: ModelServer) -> None:
        self.data, self.server = data, server
        self.config = Config(
            data_folder=data,
            agent=AgentConfig(prompt=PromptConfig(tools_in_prompt=3)),
            evolver=EvolverConfig(evaluate=EvaluateConfig(concurrency=2)),
        )

    def score(self, name: str, *, model: str = "adapter-0002", limit: int | None = None) -> Report:
        with HttpModelClient(self.server.url) as client:
            return score_suite(
                self.config, name, model, client=client, executor=shop_tools.executor(), gateway_url=self.server.url,
                limit=limit,
            )  # fmt: skip


def clever(request: dict[str, Any]) -> Says:
    tools = {tool["function"]["name"] for tool in request.get("tools", ())}
    if request["messages"][-1]["content"] == "add prices 2 and 3" and "add_prices" in tools:
        return Says(calls=[("add_prices", '{"first": 2, "second": 3}')])
    return Says("As you wish.")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    folder = tmp_path / "suites"
    folder.mkdir()
    for name in ("heldout", "develop"):
        (folder / f"{name}.jsonl").write_text("".join(item.model_dump_json() + "\n" for item in ITEMS))
    monkeypatch.setattr(suites, "files", lambda _: folder)
    with ModelServer(script=clever) as server:
        yield World(tmp_path / "data", server)


def exact(report: Report) -> tuple[int, int]:
    assert isinstance(report, EvalReport)
    return report.exact.hits, report.exact.n


def test_a_shipped_suite_and_its_variants(world: World) -> None:
    assert exact(world.score("develop")) == (1, 1)
    assert exact(world.score("heldout:shuffled")) == (1, 1)
    renamed = world.score("heldout:renamed")
    assert (renamed.suite, exact(renamed)) == ("heldout:renamed", (0, 1))


def test_a_suite_that_is_made_of_a_shipped_one(world: World) -> None:
    found = world.score("heldout:missing")
    assert isinstance(found, EvalReport)
    assert (found.suite, found.exact.n, found.no_call.n) == ("heldout:missing", 0, 1)


def test_the_first_few_and_then_the_rest(world: World) -> None:
    first = world.score("heldout", limit=1)
    assert isinstance(first, EvalReport)
    assert [item.id for item in first.items] == ["a"]
    asked = len(world.server.requests)
    assert exact(world.score("heldout")) == (1, 1)
    assert len(world.server.requests) == asked + 1


def test_another_suite_or_model_is_asked_anew(world: World) -> None:
    for name, model in (("heldout", "base"), ("heldout", "adapter-0001"), ("develop", "base"), ("heldout", "base")):
        world.score(name, model=model)
    assert len(list((world.data / "evaluations").iterdir())) == 3


def test_with_and_without_the_grammar_are_two_settings(world: World) -> None:
    world.score("heldout")
    asked = len(world.server.requests)
    serving = world.config.agent.serving
    free = serving.model_copy(update={"vllm_process": VllmConfig(constrain_calls=False)})
    agent = world.config.agent.model_copy(update={"serving": free})
    world.config = world.config.model_copy(update={"agent": agent})
    world.score("heldout")
    assert len(world.server.requests) == 2 * asked


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("other", "no suite 'other'.*heldout"),
        ("heldout:upside", "no variant 'upside'.*renamed"),
        ("bfcl:x", "simple_python"),
    ],
)
def test_an_unknown_name_is_one_line(world: World, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        world.score(name)


def test_old_skills_are_those_of_earlier_cycles(world: World) -> None:
    for number, request in ((1, "add prices 2 and 3"), (2, "what of this cycle"), (3, "what comes later")):
        kept = trace(request, "add_prices", {"first": 2, "second": 3}, 5)
        append_lines(world.data / "cycles" / f"{number:04d}" / "kept.jsonl", [kept, trace("hello again")])
        append_lines(world.data / "cycles" / f"{number:04d}" / "maker" / "own" / "kept.jsonl", [kept])  # only a trial
    assert [item.request for item in replayed(world.data, "adapter-0002").items] == ["add prices 2 and 3"]
    assert len(replayed(world.data, "base").items) == 3
    assert exact(world.score("replay")) == (1, 1)
    with pytest.raises(UserError, match="nothing to replay"):
        replayed(world.data, "adapter-0001")


def test_what_people_were_served(world: World) -> None:
    broken = ("add_prices", {}, ToolErrorKind.INVALID_ARGUMENTS)
    with InteractionLog(world.data / "interactions.db") as log:
        for calls, adapter in (((), "base"), ((broken,), "adapter-0002"), ((), "adapter-0002")):
            log.append(turn("r", *calls, adapter=adapter), session="s", source="chat")
    report = served(world.data, "adapter-0002")
    assert (report.malformed.hits, report.malformed.n, report.exact.n, report.no_call.n) == (1, 2, 0, 0)
    assert served(world.data, "adapter-0002", 1).malformed.n == 1
    assert served(world.data, "adapter-0002", 1).malformed.hits == 0, "the newest"
    with pytest.raises(UserError, match="answered nobody"):
        served(world.data, "adapter-0009")


@pytest.mark.skipif(find_spec("bfcl_eval") is None, reason=bfcl.INSTALL)
def test_a_benchmark_is_asked_like_by_any_client(world: World) -> None:
    report = world.score("bfcl:irrelevance", limit=3)
    assert isinstance(report, EvalReport)
    assert (report.suite, report.no_call.hits, report.no_call.n) == ("bfcl:irrelevance", 3, 3)
    asked = len(world.server.requests)
    world.score("bfcl:irrelevance", limit=3)
    assert len(world.server.requests) == asked == 3
