"""The ``[evolver.*]`` tables of config.toml."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from agent.config import AgentConfig
from evolver.train import TrainConfig
from toolkit.config import Section, ToolkitConfig

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]


class MineConfig(Section):
    """``[evolver.mine]``."""

    minimum_interactions: Annotated[Count, Field(description="a scheduled cycle starts only with as many new ones")] = (
        20
    )
    per_session: Annotated[Count, Field(description="at most so many tasks from one session")] = 200


class MakeConfig(Section):
    """``[evolver.make]``: how much the model makes per cycle."""

    calls_per_tool: Annotated[int, Field(ge=1, le=1000)] = 8
    requests_per_call: Annotated[int, Field(ge=1, le=64)] = 5
    small_talk: Annotated[Count, Field(description="requests sampled that need no tool")] = 120
    allow_reads: Annotated[bool, Field(description="execute tools declared `reads`")] = False
    concurrency: Annotated[int, Field(ge=1, le=256)] = 12
    max_minutes: Annotated[float, Field(gt=0, le=1440)] = 4.0


class VerifyConfig(Section):
    """``[evolver.verify]``."""

    round_trip: bool = True
    round_trips_per_call: Annotated[int, Field(ge=1, le=64, description="requests tried per call")] = 3
    kept_per_call: Annotated[int, Field(ge=1, le=64, description="wordings of one call that are kept")] = 2
    per_tool: Annotated[int, Field(ge=1, le=10_000, description="calls kept per tool, the likeliest first")] = 10


class DatasetConfig(Section):
    """``[evolver.dataset]``."""

    contexts_per_call: Annotated[int, Field(ge=1, le=16, description="tool contexts in which a trace appears")] = 1
    branches: Annotated[int, Field(ge=2, le=256, description="lessons that share one tool context")] = 16
    no_call_share: Annotated[float, Field(ge=0, le=0.9)] = 0.4
    replay_share: Share = 0.2
    validation_share: Annotated[float, Field(ge=0.02, le=0.5)] = 0.15


class EvaluateConfig(Section):
    """``[evolver.evaluate]``."""

    concurrency: Annotated[int, Field(ge=1, le=256)] = 12
    max_tokens: Annotated[int, Field(ge=16, le=4096)] = 80


class GateConfig(Section):
    """``[evolver.gate]``."""

    significance: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    no_call_floor: Share = 0.6
    no_call_margin: Share = 0.1
    malformed_margin: Annotated[float, Field(ge=0, le=1, description="a model that never calls has none")] = 0.1


class MonitorConfig(Section):
    """``[evolver.monitor]``."""

    minimum_interactions: Annotated[int, Field(ge=5, le=100_000)] = 30
    error_margin: Share = 0.15
    every_minutes: Annotated[float, Field(gt=0, le=1440)] = 10.0


class DaemonConfig(Section):
    """``[evolver.daemon]``."""

    every_hours: Annotated[float, Field(gt=0, le=720)] = 24.0


class EvolverConfig(Section):
    """``[evolver]``."""

    seed: int = 7
    mine: MineConfig = MineConfig()
    make: MakeConfig = MakeConfig()
    verify: VerifyConfig = VerifyConfig()
    dataset: DatasetConfig = DatasetConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    gate: GateConfig = GateConfig()
    monitor: MonitorConfig = MonitorConfig()
    daemon: DaemonConfig = DaemonConfig()


class Config(Section):
    """config.toml as the ``evolver`` command reads it: all of it."""

    data_folder: Path = Path("data")
    toolkit: ToolkitConfig = ToolkitConfig()
    agent: AgentConfig = AgentConfig()
    evolver: EvolverConfig = EvolverConfig()
