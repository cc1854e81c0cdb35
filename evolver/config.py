"""The ``[evolver.*]`` tables of config.toml."""

from datetime import time
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AliasChoices, Field, field_validator, model_validator

from agent.config import DataConfig
from evolver import crontab
from toolkit.config import Section

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]
Names = tuple[str, ...]


class MineConfig(Section):
    """``[evolver.mine]``: lessons from logged interactions."""

    minimum_interactions: Annotated[Count, Field(description="New interactions that a scheduled cycle waits for.")] = 20
    per_session: Annotated[Count, Field(description="Tasks from one session, at most.")] = 200
    per_user: Annotated[Count, Field(description="Tasks from the owner of one API key, at most.")] = 500
    per_source: Annotated[Count, Field(description="Tasks from one source (chat, gateway), at most.")] = 1000
    quarantine: Annotated[
        Names, Field(description="API keys (`NAME`, `TENANT/NAME`) and sources that teach nothing.")
    ] = ()
    uncertainty_sampling: Annotated[
        Count,
        Field(
            validation_alias=AliasChoices("uncertainty_sampling", "probed"),  # the latter was its name once
            description="Newest requests that are sampled again, four replies each, to find uncertain calls.",
        ),
    ] = 0


class MakeConfig(Section):
    """``[evolver.make]``: generation of candidate traces."""

    calls_per_tool: Annotated[
        int, Field(ge=1, le=1000, description="Calls sampled and executed per tool and cycle, at most.")
    ] = 12
    requests_per_call: Annotated[int, Field(ge=1, le=64, description="Requests written per call.")] = 3
    enough_per_tool: Annotated[
        int, Field(ge=1, le=1000, description="Requests that pass the checks after which a tool gets no further calls.")
    ] = 4
    no_tool_requests: Annotated[Count, Field(description="Requests without a tool sampled per cycle.")] = 64
    self_consistency_requests: Annotated[
        Count, Field(description="Logged requests without a working call that are tried by self-consistency.")
    ] = 8
    self_consistency_samples: Annotated[int, Field(ge=2, le=64, description="Calls sampled per such request.")] = 4
    allow_reads: Annotated[bool, Field(description="Execution of tools that declare the effect `reads`.")] = False
    client_calls: Annotated[
        int, Field(ge=0, le=64, description="Calls made up per client's tool and cycle; none is executed. 0: none.")
    ] = 6
    client_tools: Annotated[
        Names, Field(description="Clients' tools with effects for which calls may be made up: `NAME`, `KEY/NAME`, `*`.")
    ] = ()
    concurrency: Annotated[int, Field(ge=1, le=256, description="Model requests in flight.")] = 32
    max_minutes: Annotated[float, Field(gt=0, le=1440, description="Duration of generation.")] = 5.0
    tools_per_cycle: Annotated[
        Count, Field(description="Requests for which the model writes a new tool; four model requests each. 0: none.")
    ] = 0
    tools_for_others: Annotated[
        Share, Field(description="Share of these drawn from other requests than unserved ones.")
    ] = 0.25
    codes_per_tool: Annotated[int, Field(ge=1, le=64, description="Functions sampled per tool until one passes.")] = 4


class VerifyConfig(Section):
    """``[evolver.verify]``: checks of candidate traces."""

    round_trip: Annotated[
        bool,
        Field(description="Round trip: the model, shown the request and the tool, must arrive at the same result."),
    ] = True
    round_trips_per_call: Annotated[
        int, Field(ge=1, le=64, description="Requests per call that get a round trip, the likeliest first.")
    ] = 3
    kept_per_call: Annotated[int, Field(ge=1, le=64, description="Wordings kept per call.")] = 3
    per_tool: Annotated[int, Field(ge=1, le=10_000, description="Calls kept per tool, the likeliest first.")] = 10
    drop_personal_data: Annotated[
        bool, Field(description="Rejection of traces with mail addresses or numbers of cards and telephones.")
    ] = True


class SelectConfig(Section):
    """``[evolver.select]``: choice of kept traces that are worth learning, once an adapter serves."""

    known_probability: Annotated[
        float,
        Field(
            ge=0.5,
            le=1,
            description="Probability of its calls under the serving adapter above which a trace is only replayed. "
            "1: all are learned.",
        ),
    ] = 0.8


class VaryConfig(Section):
    """``[evolver.vary]``: augmentation of kept traces."""

    per_value: Annotated[
        int, Field(ge=0, le=100, description="Variants of a kept call per value that its request states.")
    ] = 2


class DatasetConfig(Section):
    """``[evolver.dataset]``: mixture of the lessons."""

    contexts_per_call: Annotated[int, Field(ge=1, le=16, description="Tool contexts in which a trace appears.")] = 1
    branches: Annotated[int, Field(ge=2, le=256, description="Lessons that share one tool context.")] = 12
    ranked_share: Annotated[
        Share, Field(description="Share of contexts with the tools in search order; the rest is shuffled.")
    ] = 1.0
    narrow_share: Annotated[Share, Field(description="Share of contexts with fewer tools than serving shows.")] = 0.4
    renamed_share: Annotated[
        Share, Field(description="Share of contexts with random names of tools and parameters, in random order.")
    ] = 0.1
    composed_share: Annotated[
        Share, Field(description="Lessons with two parallel calls, per lesson with one call.")
    ] = 0.08
    answer_share: Annotated[
        Share, Field(description="Share of call lessons that include the answer after the result.")
    ] = 0.4
    no_call_share: Annotated[float, Field(ge=0, le=0.9, description="Share of lessons without a call.")] = 0.3
    declined_share: Annotated[
        Share, Field(description="Share of lessons without a call whose tool is hidden; the rest needs no tool.")
    ] = 0.5
    replay_share: Annotated[
        Share, Field(description="Share of lessons from earlier cycles, as far as there are any.")
    ] = 0.2
    validation_share: Annotated[
        float, Field(ge=0.02, le=0.5, description="Share of traces held back for validation.")
    ] = 0.15


class TrainConfig(Section):
    """``[evolver.train]``: training of a LoRA adapter."""

    rank: Annotated[
        Literal[8, 16, 32, 64, 128],
        Field(description="LoRA rank, at most `[agent.serving.vllm_process] max_lora_rank`."),
    ] = 16
    alpha: Annotated[int, Field(ge=1, le=1024, description="LoRA alpha.")] = 32
    dropout: Annotated[float, Field(ge=0, lt=1, description="LoRA dropout.")] = 0.0
    targets: Annotated[tuple[str, ...], Field(description="Names of the adapted linear layers.")] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    )
    learning_rate: Annotated[float, Field(gt=0, le=0.1, description="Peak learning rate.")] = 1.2e-3
    warmup_share: Annotated[float, Field(ge=0, le=0.5, description="Share of steps with a rising learning rate.")] = (
        0.06
    )
    decay: Annotated[Literal["linear", "cosine"], Field(description="Decay of the learning rate.")] = "linear"
    weight_decay: Annotated[float, Field(ge=0, le=1, description="Weight decay.")] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0, description="Norm to which gradients are clipped.")] = 1.0
    epochs: Annotated[int, Field(ge=1, le=100, description="Passes over the lessons, at most.")] = 3
    max_steps: Annotated[int, Field(ge=0, description="Optimizer steps, at most. 0: no limit.")] = 0
    max_minutes: Annotated[
        float, Field(ge=0, description="Duration of training; the schedule shrinks to fit. 0: no limit.")
    ] = 8.0
    tokens_per_pack: Annotated[
        int, Field(ge=64, description="Tokens computed in one pass; halved when memory is short.")
    ] = 768
    packs_per_step: Annotated[int, Field(ge=1, le=1024, description="Packs per optimizer step.")] = 1
    max_lesson_tokens: Annotated[
        int, Field(ge=16, description="Length of a lesson. Longer ones are left out and counted.")
    ] = 2048
    validate_every_epochs: Annotated[
        float, Field(gt=0, le=100, description="Epochs between two validations on a sample.")
    ] = 0.5
    patience: Annotated[
        int, Field(ge=0, description="Validations without a better loss after which training stops. 0: no early stop.")
    ] = 3
    seed: Annotated[int, Field(ge=0, description="Seed of initial weights and lesson order.")] = 0
    checkpoint_seconds: Annotated[float, Field(ge=0, description="Interval between two checkpoints.")] = 60.0
    stall_minutes: Annotated[float, Field(gt=0, description="Time without progress after which training is ended.")] = (
        15.0
    )
    threads: Annotated[
        int, Field(ge=0, le=1024, description="CPU threads of each process. 0: its share of the cores.")
    ] = 0
    processes: Annotated[int, Field(ge=1, le=64, description="Training processes on a machine: one per GPU.")] = 1
    shard_model: Annotated[
        bool, Field(description="Base model divided over all training processes (FSDP); needs several.")
    ] = False
    gpu_memory_share: Annotated[
        float, Field(gt=0, le=1, description="Memory of each GPU that training may use, also where no vLLM runs.")
    ] = 0.35
    start: Annotated[
        Literal["base", "parent"], Field(description="Start of a cycle: the base model, or the active adapter.")
    ] = "base"


class EvaluateConfig(Section):
    """``[evolver.evaluate]``: requests of an evaluation."""

    concurrency: Annotated[int, Field(ge=1, le=256, description="Model requests in flight.")] = 32
    max_tokens: Annotated[int, Field(ge=16, le=4096, description="Tokens generated per model request.")] = 80


class GateConfig(Section):
    """``[evolver.gate]``: conditions of promotion."""

    significance: Annotated[
        float,
        Field(
            gt=0,
            le=0.5,
            description="Level of the tests for gains and losses; for gains, over all candidates for one place.",
        ),
    ] = 0.05
    irrelevance_floor: Annotated[
        Share, Field(description="Minimum share of no-tool requests answered without a call.")
    ] = 0.6
    irrelevance_margin: Annotated[
        Share, Field(description="Tolerated loss in that share against the serving model.")
    ] = 0.1
    invalid_call_margin: Annotated[
        Share, Field(description="Tolerated rise of the invalid-call rate against the serving model.")
    ] = 0.1
    guard_suites: Annotated[
        tuple[str, ...],
        Field(description="Further suites on which the candidate must not be worse, as `replay` or `develop:renamed`."),
    ] = ()
    guard_margin: Annotated[
        Share, Field(description="Tolerated loss on old requests and on each guard suite, as a share of them.")
    ] = 0.05
    own_share: Annotated[
        float,
        Field(
            ge=0, le=0.25, description="Share of the calls of your tools held back for the suite `own`. 0: no suite."
        ),
    ] = 0.1


class MonitorConfig(Section):
    """``[evolver.monitor]``: automatic rollback."""

    minimum_interactions: Annotated[
        int, Field(ge=5, le=100_000, description="Turns needed with the active adapter, and with the one before it.")
    ] = 30
    error_margin: Annotated[Share, Field(description="Tolerated rise in a share of troubled turns.")] = 0.1
    latency_ratio: Annotated[float, Field(ge=1, le=100, description="Tolerated ratio of turn durations.")] = 1.5
    significance: Annotated[float, Field(gt=0, le=0.5, description="Level of all comparisons together.")] = 0.01
    cool_down_hours: Annotated[
        float, Field(ge=0, le=720, description="Time after a rollback without another rollback or a new cycle.")
    ] = 24.0
    every_minutes: Annotated[float, Field(gt=0, le=1440, description="Interval between two looks of the daemon.")] = (
        10.0
    )


class ReleaseConfig(Section):
    """``[evolver.release]``: promotion and retention."""

    approval: Annotated[
        bool, Field(description="Manual approval: a candidate that passed the gate waits for `evolver approve`.")
    ] = False
    keep_adapters: Annotated[int, Field(ge=1, le=10_000, description="Newest adapters kept on disk.")] = 20
    canary_share: Annotated[
        float,
        Field(ge=0, le=0.5, description="Share of sessions that try a new adapter before its promotion. 0: no canary."),
    ] = 0.0
    canary_sessions: Annotated[
        int, Field(ge=10, le=100_000, description="Pairs of sessions after which a canary ends.")
    ] = 200
    canary_days: Annotated[float, Field(gt=0, le=365, description="Days after which a canary ends.")] = 7.0
    canary_odds: Annotated[
        float,
        Field(
            ge=1.1,
            le=100,
            description="Odds ratio of trouble, candidate against active adapter, that counts as worse.",
        ),
    ] = 2.0


class DaemonConfig(Section):
    """``[evolver.daemon]``: schedule of cycles."""

    every_hours: Annotated[float, Field(gt=0, le=720, description="Interval between the starts of two cycles.")] = 24.0
    cron: Annotated[
        str,
        Field(
            description="Five crontab fields that replace `every_hours`: minute hour day month weekday. "
            "Weekdays 0 and 7 are Sunday."
        ),
    ] = ""
    timezone: Annotated[str, Field(description="Time zone of `cron` and `between`.")] = "UTC"
    between: Annotated[
        str,
        Field(
            pattern=r"^(\d\d:\d\d-\d\d:\d\d)?$", description="Hours in which a cycle may begin. Example: `22:00-06:00`."
        ),
    ] = ""
    idle_minutes: Annotated[
        float, Field(ge=0, le=1440, description="Time without requests that a cycle waits for.")
    ] = 5.0
    defer_hours: Annotated[float, Field(ge=0, le=720, description="Longest wait for such a pause.")] = 12.0
    retry_minutes: Annotated[
        float, Field(gt=0, le=1440, description="Pause after a failed cycle, doubled with each further failure.")
    ] = 30.0
    lease_seconds: Annotated[
        float,
        Field(ge=1, le=3600, description="Silence of a running cycle after which another process may take it over."),
    ] = 60.0

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, value: str) -> str:
        if value:
            crontab.trigger(value)
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
    """``[evolver]``: evolution cycles."""

    seed: Annotated[int, Field(description="Seed of sampling in a cycle.")] = 7
    rounds: Annotated[
        int, Field(ge=1, le=3, description="Cycles in a row; a further one begins only after a promotion.")
    ] = 1
    per_tenant: Annotated[
        bool, Field(description="An adapter for each tenant, made of its own interactions alone.")
    ] = False
    tensorboard: Annotated[
        bool,
        Field(description="Losses of training for TensorBoard, in `tensorboard/` of the data folder; needs the extra."),
    ] = False
    mine: MineConfig = MineConfig()
    make: MakeConfig = MakeConfig()
    verify: VerifyConfig = VerifyConfig()
    select: SelectConfig = SelectConfig()
    vary: VaryConfig = VaryConfig()
    dataset: DatasetConfig = DatasetConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    gate: GateConfig = GateConfig()
    release: ReleaseConfig = ReleaseConfig()
    monitor: MonitorConfig = MonitorConfig()
    daemon: DaemonConfig = DaemonConfig()


class Config(DataConfig):
    """config.toml as the ``evolver`` command reads it: all of it."""

    evolver: EvolverConfig = EvolverConfig()

    @model_validator(mode="after")
    def _shadow_is_for_everybody(self) -> "Config":
        self.agent.serving.shadow.check_for_everybody(per_tenant=self.evolver.per_tenant)
        return self

    @model_validator(mode="after")
    def _parts_are_for_several(self) -> "Config":
        train = self.evolver.train
        if train.shard_model and train.processes * max(1, self.cluster.training_nodes) == 1:
            raise ValueError("shard_model needs processes above 1, one for each part of the model, or training_nodes")
        return self

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
