"""Everything that a cycle meets, small and quick: a model behind the real gateway, tools, a suite, a log."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from agent.config import AgentConfig, GatewayConfig, PromptConfig, ServingConfig
from agent.log.interaction_log import InteractionLog
from agent.serving import serving_state
from agent.serving.serving_state import ServingState
from evolver.config import Config, DatasetConfig, EvaluateConfig, EvolverConfig, MakeConfig, MineConfig
from evolver.cycle import run
from evolver.cycle.report import CycleReport
from evolver.cycle.run import run_cycle
from evolver.evaluation import suites
from evolver.evaluation.suites import Item
from evolver.store.ledger import Ledger
from evolver.types import Call
from tests.fakes.evolution import turn
from tests.fakes.learner import FakeTraining, Learner
from tests.fakes.model_gateway import KEY, running_gateway
from tests.fakes.model_server import ModelServer
from tests.fakes.model_vllm import write_model
from tests.fakes.sandbox import InProcessSandbox
from tests.fakes.shop_tools import WORLD_TOOLS
from toolkit import execute
from toolkit.config import ToolkitConfig
from toolkit.describing import describe
from toolkit.execute import Executor
from toolkit.made import APPROVED, MadeCode
from toolkit.registry import ToolRegistry
from toolkit.sandbox.insistent import Insistent

ITEMS = [
    *(
        Item(
            id=f"add-{n}",
            request=f"What do prices of {n} and 70 add up to?",
            expected=(Call(name="add_prices", arguments={"first": n, "second": 70}),),
        )
        for n in range(41, 45)
    ),
    *(
        Item(
            id=f"box-{n}",
            request=f"Into how many boxes of 6 do {n} eggs go?",
            expected=(Call(name="box_count", arguments={"eggs": n, "box_size": 6}),),
        )
        for n in range(81, 84)
    ),
    *(Item(id=f"talk-{n}", request=text) for n, text in enumerate(("Good evening!", "Who wrote Faust?", "Sing to me"))),
]


class World:
    """``data`` is the data folder; ``say`` collects (stage, share) as they are reported. ``database``: the address of
    the Postgres database that has log and ledger."""

    def __init__(self, folder: Path, database: str = "") -> None:
        self.data = folder / "data"
        self.learner = Learner(ITEMS)
        self.training = FakeTraining()
        self.sandbox: InProcessSandbox = InProcessSandbox()
        self.server = ModelServer(script=self.learner)
        self.learner.loaded = lambda: self.server.models
        self.tools: Sequence[Callable[..., Any]] = WORLD_TOOLS
        self.source = "builtin"
        self.said: list[tuple[str, float]] = []
        self.config = Config(
            data_folder=self.data,
            agent=AgentConfig(
                database=database,
                serving=ServingConfig(model=str(write_model(folder / "model"))),
                prompt=PromptConfig(tools_in_prompt=2),
            ),
            evolver=EvolverConfig(
                mine=MineConfig(minimum_interactions=1),
                make=MakeConfig(calls_per_tool=4, requests_per_call=1, no_tool_requests=8, concurrency=2),
                dataset=DatasetConfig(contexts_per_call=1, replay_share=0.3),
                evaluate=EvaluateConfig(concurrency=2),
            ),
        )
        self.log("add 3 and 4 to prices, please", ("add_prices", {"first": 3, "second": 4}, 7))
        self.log("good morning")

    def log(self, request: str, *calls: Any, **rest: Any) -> None:
        with InteractionLog(self.data / "interactions.db") as log:
            log.append(turn(request, *calls, **rest), session="s", source="chat")

    @contextmanager
    def executor(self, _: ToolkitConfig, *, insist: bool = False, **options: Any) -> Iterator[Executor]:
        tools = (describe(function, source=self.source) for function in self.tools)
        sandbox = Insistent(self.sandbox) if insist else self.sandbox
        yield Executor(ToolRegistry(tools), sandbox, {APPROVED: MadeCode([], sandbox)}, **options)

    def run(self, on_progress: Any = None, *, tenant: str = "") -> CycleReport:
        def say(stage: str, share: float, remark: str) -> None:
            self.said.append((stage, share))
            if on_progress is not None:
                on_progress(stage, share, remark)

        with self.ledger(tenant) as ledger:
            return run_cycle(self.config, ledger, on_progress=say)

    def ledger(self, tenant: str = "") -> Ledger:
        return Ledger(self.data / "evolution.db", tenant=tenant)

    def begun(self) -> list[str]:
        """The stages that were begun, in order."""
        return list(dict.fromkeys(stage for stage, share in self.said if share == 0.0))


@contextmanager
def world(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    items: Sequence[Item] = ITEMS,
    *,
    logs: bool = False,
    host: str = "127.0.0.1",
    database: str = "",
) -> Iterator[World]:
    """A world whose shipped suite has ``items``. With ``logs`` its gateway, at ``host``, logs what clients ask."""
    made = World(folder, database)
    suite = folder / "suites"
    suite.mkdir()
    (suite / "heldout.jsonl").write_text("".join(item.model_dump_json() + "\n" for item in items))
    monkeypatch.setattr(suites, "files", lambda _: suite)
    monkeypatch.setattr(run, "train", made.training)
    monkeypatch.setattr(execute, "open_executor", made.executor)
    with (
        InteractionLog(made.data / "interactions.db") if logs else nullcontext() as log,
        made.server,
        running_gateway(made.data, made.server, log, GatewayConfig(host=host), host) as (gateway, url),
    ):
        serving = ServingState(
            pid=os.getpid(),
            gateway_url=url,
            gateway_key=gateway.own_key,
            vllm_url=made.server.url,
            vllm_pid=4711,
            vllm_key=KEY,
        )
        serving_state.write(made.data, serving)
        yield made


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
