"""One whole evolution cycle on the real vLLM, with people being served throughout, and the hot swap at its end."""

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from agent.adapters import active, package
from agent.config import AgentConfig, GatewayConfig, LoopConfig, ServingConfig
from agent.log.interaction_log import InteractionLog
from agent.serving import serving_state
from agent.serving.gateway.app import Gateway
from agent.serving.serving_state import ServingState
from agent.serving.upstreams import lora_api
from agent.serving.upstreams.connection import Upstream
from agent.serving.vllm.process import VllmServer
from agent.turn.loop import Agent
from agent.turn.model_client import HttpModelClient
from evolver.config import Config, DatasetConfig, EvaluateConfig, EvolverConfig, MakeConfig, TrainConfig, VerifyConfig
from evolver.cycle import stages
from evolver.cycle.report import CycleReport
from evolver.cycle.run import run_cycle
from evolver.release import release
from evolver.store.ledger import Ledger
from tests.fakes.model_gateway import running
from tests.fakes.stages import value_of
from tests.fakes.waiting import wait_until
from toolkit.config import ToolkitConfig, ToolsConfig
from toolkit.execute import open_executor
from toolkit.search import ToolIndex

pytestmark = pytest.mark.timeout(2400)

REQUESTS = ("Please double 21 for me.", "Shout hello there", "Who was Napoleon?")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Config:
    """A small cycle: three tools of a user, a few lessons, four training steps."""
    return Config(
        data_folder=tmp_path_factory.mktemp("data"),
        toolkit=ToolkitConfig(tools=ToolsConfig(builtin=False, modules=("tests.fakes.few_tools",))),
        agent=AgentConfig(serving=ServingConfig(model=str(model_folder)), loop=LoopConfig(max_tokens=16, max_steps=2)),
        evolver=EvolverConfig(
            make=MakeConfig(calls_per_tool=8, requests_per_call=4, no_tool_requests=12, max_minutes=4),
            verify=VerifyConfig(round_trip=True),
            dataset=DatasetConfig(contexts_per_call=2, branches=8),
            train=TrainConfig(max_steps=3, max_minutes=3, epochs=1),
            evaluate=EvaluateConfig(max_tokens=16, concurrency=16),
        ),
    )


@pytest.fixture(scope="module")
def serving(config: Config, vllm: VllmServer) -> Iterator[ServingState]:
    """The gateway in front of the session's vLLM, announced as ``agent serve`` does."""
    import os

    gateway = Gateway(config.data_folder, GatewayConfig(requests_per_minute=0))
    gateway.pool.replace([Upstream(vllm.url, vllm.api_key, pid=vllm.pid)])
    with running(gateway) as url:
        announced = ServingState(
            pid=os.getpid(),
            gateway_url=url,
            gateway_key=gateway.own_key,
            vllm_url=vllm.url,
            vllm_pid=vllm.pid,
            vllm_key=vllm.api_key,
        )
        serving_state.write(config.data_folder, announced)
        yield announced
    for name in lora_api.loaded(vllm.url, vllm.api_key) & {"adapter-0001"}:
        lora_api.unload(vllm.url, vllm.api_key, name)


class Traffic:
    """People who ask without pause; counts who answered and what failed."""

    def __init__(self, url: str, people: int = 2) -> None:
        self.adapters: Counter[str] = Counter()
        self.failures: list[str] = []
        self._url = url
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(people)]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, adapter: str) -> None:
        """Until somebody was answered by ``adapter``."""
        wait_until(lambda: self.adapters[adapter], seconds=300)

    def _ask(self) -> None:
        body = {"model": "agent", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}
        with httpx.Client(base_url=self._url, trust_env=False, timeout=120) as client:
            while not self._stop.wait(2):
                response = client.post("/v1/chat/completions", json=body)
                if response.status_code == 200:
                    self.adapters[response.headers["x-apprentice-adapter"]] += 1
                else:
                    self.failures.append(response.text)


@pytest.fixture(scope="module")
def outcome(config: Config, serving: ServingState) -> tuple[CycleReport, Traffic]:
    """People ask, their turns are logged, a cycle runs, its adapter is promoted and taken back; all under traffic."""
    with (
        open_executor(config.toolkit) as executor,
        HttpModelClient(serving.gateway_url, serving.gateway_key) as client,
        InteractionLog(config.data_folder / "interactions.db") as log,
    ):
        agent = Agent(client, executor, ToolIndex(executor.registry), config.agent.loop, config.agent.prompt)
        for number, request in enumerate(REQUESTS):
            agent.run(request, record=lambda turn, n=number: log.append(turn, session=str(n), source="test"))
    with Ledger(config.data_folder / "evolution.db") as ledger, Traffic(serving.gateway_url) as traffic:
        traffic.wait_for("base")
        report = run_cycle(config, ledger)
        if report.of(stages.TRAIN) is not None:
            release.promote("adapter-0001", config.data_folder, ledger, serving, reason="test")
            traffic.wait_for("adapter-0001")
            traffic.adapters["base"] = 0
            release.rollback(config.data_folder, ledger, serving, reason="test")
            traffic.wait_for("base")
    return report, traffic


def test_the_cycle_goes_through_every_stage(config: Config, outcome: tuple[CycleReport, Traffic]) -> None:
    report, _ = outcome
    assert report.cycle.status in ("promoted", "rejected"), report.cycle.reason
    # A tool gets no further calls once it has enough requests; more than these come by chance.
    assert value_of(report, stages.MAKE).by_kind["back_translation"] >= 3 * config.evolver.make.enough_per_tool
    assert value_of(report, stages.VERIFY).kept_by_kind["back_translation"] >= 3
    assert len(value_of(report, stages.EVALUATE).items) >= 60
    assert len(value_of(report, stages.GATE).reasons) >= 3
    assert set(report.cycle.summary) >= {"mine", "make", "verify", "dataset", "train", "load", "evaluate", "gate"}


def test_the_adapter_is_whole_and_was_trained(outcome: tuple[CycleReport, Traffic]) -> None:
    report, _ = outcome
    manifest = package.check_adapter(value_of(report, stages.TRAIN).folder)
    # Three steps on three batches: a loss that falls would be chance. What they changed is in the probe.
    assert manifest.probe is not None and manifest.probe.logprobs != manifest.probe.base_logprobs
    assert manifest.metrics.tokens_saved > 0


def test_nobody_noticed_the_swap(outcome: tuple[CycleReport, Traffic], vllm: VllmServer) -> None:
    _, traffic = outcome
    assert traffic.failures == []
    assert traffic.adapters["adapter-0001"] and traffic.adapters["base"]
    assert set(traffic.adapters) == {"base", "adapter-0001"}
    assert vllm.alive


def test_the_ledger_tells_the_story(config: Config, outcome: tuple[CycleReport, Traffic]) -> None:
    with Ledger(config.data_folder / "evolution.db") as ledger:
        (adapter,) = ledger.adapters()
        newest = ledger.releases()[0]
    assert (adapter.name, adapter.state) == ("adapter-0001", "withdrawn")
    assert (newest.adapter, newest.previous) == ("base", "adapter-0001")
    assert active.read(config.data_folder).name == "base"
