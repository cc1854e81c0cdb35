"""The ``[evolver.*]`` tables of config.toml."""

from datetime import time
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

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
    per_user: Annotated[Count, Field(description="at most so many tasks from the owner of one API key")] = 500
    per_source: Annotated[Count, Field(description="at most so many tasks from one source")] = 1000
    probed: Annotated[Count, Field(description="requests asked again to see where the model hesitates; 0: none")] = 0


class MakeConfig(Section):
    """``[evolver.make]``: how much the model makes per cycle."""

    calls_per_tool: Annotated[int, Field(ge=1, le=1000)] = 12
    requests_per_call: Annotated[int, Field(ge=1, le=64)] = 3
    enough_per_tool: Annotated[int, Field(ge=1, le=1000, description="fit requests, after which no more are made")] = 4
    small_talk: Annotated[Count, Field(description="requests sampled that need no tool")] = 64
    question_first: Annotated[Count, Field(description="logged requests without a working call that are tried")] = 8
    question_samples: Annotated[int, Field(ge=2, le=64, description="calls sampled for each of these")] = 4
    keep_failed: Annotated[bool, Field(description="also what failed when it was executed")] = False
    allow_reads: Annotated[bool, Field(description="execute tools declared `reads`")] = False
    concurrency: Annotated[int, Field(ge=1, le=256)] = 24
    max_minutes: Annotated[float, Field(gt=0, le=1440)] = 5.0
    maker: Annotated[
        Literal["base", "solver", "own"], Field(description="who makes: `base`, what serves, or an adapter of its own")
    ] = "base"
    own_minutes: Annotated[float, Field(gt=0, le=1440, description="of training the maker's own adapter")] = 4.0
    trial_tools: Annotated[int, Field(ge=1, le=1000, description="tools on which it is tried against `base`")] = 24
    tools_per_cycle: Annotated[Count, Field(description="requests for which the model writes a tool; 0: none")] = 0
    tools_for_others: Annotated[Share, Field(description="of these: requests that are not unserved")] = 0.25
    codes_per_tool: Annotated[int, Field(ge=1, le=64, description="functions sampled for a tool until one passes")] = 4
    definitions_per_cycle: Annotated[Count, Field(description="tools whose definition the model must find")] = 0


class VerifyConfig(Section):
    """``[evolver.verify]``."""

    execution: Annotated[bool, Field(description="calls must run again with the same result")] = True
    round_trip: bool = True
    round_trips_per_call: Annotated[int, Field(ge=1, le=64, description="requests tried per call")] = 3
    rivals: Annotated[
        int, Field(ge=0, le=16, description="calls of other tools that a request must not fit better")
    ] = 0
    kept_per_call: Annotated[int, Field(ge=1, le=64, description="wordings of one call that are kept")] = 3
    per_tool: Annotated[int, Field(ge=1, le=10_000, description="calls kept per tool, the likeliest first")] = 10
    drop_personal_data: Annotated[bool, Field(description="addresses, numbers of cards and telephones")] = True


class VaryConfig(Section):
    """``[evolver.vary]``."""

    per_value: Annotated[int, Field(ge=0, le=100, description="variants of a kept call, for each value in it")] = 2
    per_option: Annotated[int, Field(ge=0, le=100, description="and for each optional parameter it leaves out")] = 3


class DatasetConfig(Section):
    """``[evolver.dataset]``."""

    contexts_per_call: Annotated[int, Field(ge=1, le=16, description="tool contexts in which a trace appears")] = 1
    branches: Annotated[int, Field(ge=2, le=256, description="lessons that share one tool context")] = 12
    ranked_share: Annotated[float, Field(ge=0, le=1, description="contexts in the order of the search")] = 1.0
    narrow_share: Annotated[float, Field(ge=0, le=1, description="contexts of fewer tools than serving shows")] = 0.4
    loosened_share: Annotated[float, Field(ge=0, le=1, description="contexts with other optional parameters")] = 0.0
    renamed_share: Annotated[Share, Field(description="contexts whose tools and parameters have other names")] = 0.1
    composed_share: Annotated[float, Field(ge=0, le=1, description="two calls in one request, per single call")] = 0.08
    chained_share: Annotated[float, Field(ge=0, le=1, description="a call on another one's result, likewise")] = 0.0
    asking_share: Annotated[float, Field(ge=0, le=1, description="questions for a missing value, likewise")] = 0.0
    answer_share: Annotated[float, Field(ge=0, le=1, description="calls that are learned with their answer")] = 0.4
    definition_share: Annotated[float, Field(ge=0, le=1, description="tools' definitions, per call lesson")] = 0.0
    no_call_share: Annotated[float, Field(ge=0, le=0.9)] = 0.3
    declined_share: Annotated[float, Field(ge=0, le=1, description="of those: requests whose tool is hidden")] = 0.5
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
    guard_suites: Annotated[tuple[str, ...], Field(description="suites on which it must not get worse")] = ()
    guard_margin: Annotated[float, Field(ge=0, le=1, description="of a guard suite's requests")] = 0.05


class MonitorConfig(Section):
    """``[evolver.monitor]``."""

    minimum_interactions: Annotated[int, Field(ge=5, le=100_000)] = 30
    error_margin: Annotated[Share, Field(description="by how much a share of turns may be worse")] = 0.1
    latency_ratio: Annotated[float, Field(ge=1, le=100, description="how much longer a turn may take")] = 1.5
    significance: Annotated[float, Field(gt=0, le=0.5, description="of all its figures together")] = 0.01
    cool_down_hours: Annotated[float, Field(ge=0, le=720, description="after it went back: nothing new")] = 24.0
    every_minutes: Annotated[float, Field(gt=0, le=1440)] = 10.0


class ReleaseConfig(Section):
    """``[evolver.release]``."""

    approval: Annotated[bool, Field(description="what the gate passes waits for: evolver approve")] = False
    keep_adapters: Annotated[int, Field(ge=1, le=10_000, description="the newest, whatever became of them")] = 20
    canary_share: Annotated[float, Field(ge=0, le=0.5, description="of the sessions, on trial first; 0: none")] = 0.0
    canary_sessions: Annotated[int, Field(ge=10, le=100_000, description="pairs of sessions after which it ends")] = 200
    canary_days: Annotated[float, Field(gt=0, le=365, description="and after so long")] = 7.0
    canary_odds: Annotated[float, Field(ge=1.1, le=100, description="of trouble, against what serves: worse")] = 2.0


class DaemonConfig(Section):
    """``[evolver.daemon]``: when a cycle may begin."""

    every_hours: Annotated[float, Field(gt=0, le=720)] = 24.0
    cron: Annotated[str, Field(description='instead of every_hours: "minute hour day month weekday"')] = ""
    timezone: Annotated[str, Field(description="of cron and between")] = "UTC"
    between: Annotated[str, Field(pattern=r"^(\d\d:\d\d-\d\d:\d\d)?$", description='only then, as "22:00-06:00"')] = ""
    idle_minutes: Annotated[float, Field(ge=0, le=1440, description="nobody has asked anything for so long")] = 5.0
    defer_hours: Annotated[float, Field(ge=0, le=720, description="and if people never pause, after so long")] = 12.0
    retry_minutes: Annotated[float, Field(gt=0, le=1440, description="after a failure; doubled each time")] = 30.0
    lease_seconds: Annotated[float, Field(ge=1, le=3600, description="silent so long, a cycle is taken over")] = 60.0

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, value: str) -> str:
        if value:
            from apscheduler.triggers.cron import CronTrigger

            CronTrigger.from_crontab(value)
        return value

    @field_validator("between")
    @classmethod
    def _is_hours(cls, value: str) -> str:
        for text in value.split("-") if value else ():
            time.fromisoformat(text)
        return value

    @field_validator("timezone")
    @classmethod
    def _is_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"no time zone {value!r}") from error
        return value


class EvolverConfig(Section):
    """``[evolver]``."""

    seed: int = 7
    rounds: Annotated[int, Field(ge=1, le=3, description="cycles in a row, while each is promoted")] = 1
    mine: MineConfig = MineConfig()
    make: MakeConfig = MakeConfig()
    verify: VerifyConfig = VerifyConfig()
    vary: VaryConfig = VaryConfig()
    dataset: DatasetConfig = DatasetConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    gate: GateConfig = GateConfig()
    release: ReleaseConfig = ReleaseConfig()
    monitor: MonitorConfig = MonitorConfig()
    daemon: DaemonConfig = DaemonConfig()


class Config(Section):
    """config.toml as the ``evolver`` command reads it: all of it."""

    data_folder: Path = Path("data")
    toolkit: ToolkitConfig = ToolkitConfig()
    agent: AgentConfig = AgentConfig()
    evolver: EvolverConfig = EvolverConfig()

    @model_validator(mode="after")
    def _vllm_serves_what_is_trained(self) -> "Config":
        train, vllm = self.evolver.train, self.agent.serving.vllm_process
        if train.rank > vllm.max_lora_rank:
            raise ValueError(
                f"[evolver.train] rank = {train.rank} is above [agent.serving.vllm_process] max_lora_rank = "
                f"{vllm.max_lora_rank}: vLLM would refuse the adapter; lower the one or raise the other"
            )
        if train.gpu_memory_share + vllm.gpu_memory_share > 1:
            raise ValueError(
                f"[evolver.train] gpu_memory_share = {train.gpu_memory_share} and [agent.serving.vllm_process] "
                f"gpu_memory_share = {vllm.gpu_memory_share} are more than the whole GPU; lower one"
            )
        return self
