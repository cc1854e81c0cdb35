"""A gateway in which the agent itself answers, with tools that run in this process, in front of a scripted model."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.config import AgentConfig, Config, GatewayConfig
from agent.log.interaction_log import InteractionLog
from agent.serving.gateway.agent.chat_completions import AgentModel
from agent.serving.gateway.agent.turns import AgentTurns, SharedTools
from agent.serving.gateway.app import Gateway
from tests.fakes.model_gateway import running_gateway
from tests.fakes.model_server import ModelServer
from tests.fakes.model_tools import TOOLS, InProcess
from toolkit.config import ToolkitConfig
from toolkit.registry import ToolRegistry


class Tooled(InProcess):
    """The executor of ``TOOLS``."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = ToolRegistry(TOOLS)


@contextmanager
def running_agent(
    data: Path,
    server: ModelServer,
    log: InteractionLog,
    config: GatewayConfig | None = None,
    agent: AgentConfig | None = None,
) -> Iterator[tuple[Gateway, str, Tooled]]:
    """The gateway, its URL, and what runs the tools."""
    executor = Tooled()

    @contextmanager
    def opened(_: ToolkitConfig) -> Iterator[Tooled]:
        yield executor

    with running_gateway(data, server, log, config) as (gateway, url):
        settings = Config(data_folder=data, agent=agent or AgentConfig())
        tools = SharedTools(settings.toolkit, opened)  # type: ignore[arg-type]
        gateway.agent = AgentModel(AgentTurns(settings, log, url, gateway.own_key, tools), gateway.metrics)
        yield gateway, url, executor
