"""A suite's name leads to what is asked, and to where it is kept."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from agent.config import AgentConfig, PromptConfig, VllmConfig
from agent.log.interaction_log import InteractionLog
from agent.turn.model_client import HttpModelClient
from evolver.config import Config, EvaluateConfig, EvolverConfig
from evolver.crew.local import LocalCrew
from evolver.crew.workshop import Workshop
from evolver.evaluation import suites
from evolver.evaluation.scoring import Report, replayed, score_suite, score_turns
from evolver.evaluation.suites import Item, bfcl, variants
from evolver.model.client import Generator
from evolver.scores import EvalReport
from evolver.store.jsonl import append_lines
from evolver.types import Call
from tests.fakes import shop_tools
from tests.fakes.evolution import trace, turn
from tests.fakes.model_folders import write_family
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.read_prompt import read, reads_prompt
from toolkit import builtin
from toolkit.errors import UserError
from toolkit.search import ToolIndex
from toolkit.tool import Tool, ToolErrorKind

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

    @property
    def asked(self) -> int:
        """How many answers were asked for, beside the tokens that are counted and read for soft scores."""
        return sum(request["max_tokens"] > 1 for request in self.server.requests)

    def score(self, name: str, *, model: str = "adapter-0002", limit: int | None = None, tenant: str = "") -> Report:
        with HttpModelClient(self.server.url) as client, Generator(self.server.url) as generator:
            crew = LocalCrew(Workshop(shop_tools.executor(), client, generator), 2)
            return score_suite(self.config, name, model, crew, limit=limit, tenant=tenant)


def clever(request: dict[str, Any]) -> Says:
    if reads_prompt(request):
        return read([-0.5, -0.25])
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
    return report.call_accuracy.hits, report.call_accuracy.n


def test_a_shipped_suite_and_its_variants(world: World) -> None:
    assert exact(world.score("develop")) == (1, 1)
    assert exact(world.score("heldout:shuffled")) == (1, 1)
    plain, renamed = world.score("heldout"), world.score("heldout:renamed")
    assert isinstance(plain, EvalReport)
    assert plain.soft_score is not None
    assert plain.items[0].logprob == pytest.approx(-0.75)
    assert (renamed.suite, exact(renamed)) == ("heldout:renamed", (0, 1))


def test_the_first_few_and_then_the_rest(world: World) -> None:
    first = world.score("heldout", limit=1)
    assert isinstance(first, EvalReport)
    assert [item.id for item in first.items] == ["a"]
    asked = world.asked
    assert exact(world.score("heldout")) == (1, 1)
    assert world.asked == asked + 1


def test_another_suite_or_model_is_asked_anew(world: World) -> None:
    for name, model in (("heldout", "base"), ("heldout", "adapter-0001"), ("develop", "base"), ("heldout", "base")):
        world.score(name, model=model)
    assert len(list((world.data / "evaluations").iterdir())) == 3


def test_with_and_without_the_grammar_are_two_settings(world: World) -> None:
    world.score("heldout")
    asked = world.asked
    serving = world.config.agent.serving
    free = serving.model_copy(update={"vllm_process": VllmConfig(constrain_calls=False)})
    agent = world.config.agent.model_copy(update={"serving": free})
    world.config = world.config.model_copy(update={"agent": agent})
    world.score("heldout")
    assert world.asked == 2 * asked


def model_folder(folder: Path, weights: str) -> Path:
    write_family(folder, "chatml")
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_text(weights)
    return folder


def changed_search(patch: pytest.MonkeyPatch, _: Path) -> None:
    top = ToolIndex.top

    def reversed_at_the_top(index: ToolIndex, query: str, k: int) -> list[Tool]:
        found = top(index, query, k)
        return [*found[:3][::-1], *found[3:]]

    patch.setattr(ToolIndex, "top", reversed_at_the_top)


def changed_variant(patch: pytest.MonkeyPatch, _: Path) -> None:
    tools_of_variant = variants.tools_of_variant
    patch.setattr(variants, "tools_of_variant", lambda *asked: tools_of_variant(*asked)[::-1])


def changed_builtin(patch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "tools").mkdir()
    (folder / "tools" / "dates.py").write_text("other code")
    patch.setattr(builtin, "__path__", [str(folder / "tools")])


def changed_base_model(_: pytest.MonkeyPatch, folder: Path) -> None:
    model_folder(folder / "model", weights="another model")


@pytest.mark.parametrize(
    ("suite", "change"),
    [
        ("heldout", changed_search),
        ("heldout:shuffled", changed_search),
        ("heldout:renamed", changed_variant),
        ("heldout", changed_builtin),
        ("heldout", changed_base_model),
    ],
)
def test_scores_are_kept_until_something_changes_that_the_answer_depends_on(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    suite: str,
    change: Callable[[pytest.MonkeyPatch, Path], None],
) -> None:
    serving = world.config.agent.serving.model_copy(update={"model": str(model_folder(tmp_path / "model", "weights"))})
    agent = world.config.agent.model_copy(update={"serving": serving})
    world.config = world.config.model_copy(update={"agent": agent})
    world.score(suite)
    asked = world.asked
    world.score(suite)
    assert world.asked == asked
    change(monkeypatch, tmp_path)
    world.score(suite)
    assert world.asked == 2 * asked


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("other", "no suite 'other'.*heldout"),
        ("heldout:upside", "no variant 'upside'.*renamed"),
        ("heldout:missing", "no variant 'missing'"),
        ("bfcl:x", "simple_python"),
        ("sealed", "opened once per release.*--release"),
        ("sealed:shuffled", "opened once per release"),
    ],
)
def test_an_unknown_name_is_one_line(world: World, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        world.score(name)


def test_old_skills_are_those_of_earlier_cycles(world: World) -> None:
    for number, request in ((1, "add prices 2 and 3"), (2, "what of this cycle"), (3, "what comes later")):
        kept = trace(request, "add_prices", {"first": 2, "second": 3}, 5)
        append_lines(world.data / "cycles" / f"{number:04d}" / "kept.jsonl", [kept, trace("hello again")])
    assert [item.request for item in replayed(world.config, "adapter-0002").items] == ["add prices 2 and 3"]
    assert len(replayed(world.config, "base").items) == 3
    assert exact(world.score("replay")) == (1, 1)
    with pytest.raises(UserError, match="nothing to replay"):
        replayed(world.config, "adapter-0001")


def test_what_people_were_served(world: World) -> None:
    broken = ("add_prices", {}, ToolErrorKind.INVALID_ARGUMENTS)
    with InteractionLog(world.data / "interactions.db") as log:
        for calls, adapter in (((), "base"), ((broken,), "adapter-0002"), ((), "adapter-0002")):
            log.append(turn("r", *calls, adapter=adapter), session="s", source="chat")
    report = score_turns(world.data, "adapter-0002")
    assert (
        report.invalid_call_rate.hits,
        report.invalid_call_rate.n,
        report.call_accuracy.n,
        report.irrelevance_accuracy.n,
    ) == (1, 2, 0, 0)
    assert score_turns(world.data, "adapter-0002", 1).invalid_call_rate.n == 1
    assert score_turns(world.data, "adapter-0002", 1).invalid_call_rate.hits == 0, "the newest"
    with pytest.raises(UserError, match="answered nobody"):
        score_turns(world.data, "adapter-0009")


def test_what_a_tenant_was_served(world: World) -> None:
    broken = ("add_prices", {}, ToolErrorKind.INVALID_ARGUMENTS)
    with InteractionLog(world.data / "interactions.db") as log:
        for calls, tenant in (((broken,), "sales"), ((), "care"), ((), "")):
            log.append(turn("r", *calls, adapter="adapter-0002"), session="s", source="gateway", tenant=tenant)
    scored = {tenant: world.score("served", tenant=tenant) for tenant in ("sales", "care", "")}
    rates = {tenant: found.invalid_call_rate for tenant, found in scored.items() if isinstance(found, EvalReport)}
    assert {tenant: (rate.hits, rate.n) for tenant, rate in rates.items()} == {
        "sales": (1, 1),
        "care": (0, 1),
        "": (1, 3),
    }
    with pytest.raises(UserError, match="answered nobody of lab yet"):
        score_turns(world.data, "adapter-0002", tenant="lab")


@pytest.mark.skipif(find_spec("bfcl_eval") is None, reason=bfcl.INSTALL)
def test_a_benchmark_is_asked_like_by_any_client(world: World) -> None:
    report = world.score("bfcl:irrelevance", limit=3)
    assert isinstance(report, EvalReport)
    assert (report.suite, report.irrelevance_accuracy.hits, report.irrelevance_accuracy.n) == ("bfcl:irrelevance", 3, 3)
    assert world.asked == 3
    world.score("bfcl:irrelevance", limit=3)
    assert world.asked == 3
