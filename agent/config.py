"""The ``[agent.*]`` tables of config.toml."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from agent.cluster.config import ClusterConfig
from agent.storage import database_server
from toolkit.config import Section, ToolkitConfig

Port = Annotated[int, Field(ge=0, le=65535)]


class PromptConfig(Section):
    """``[agent.prompt]``: contents of a prompt."""

    tools_in_prompt: Annotated[int, Field(ge=1, le=128, description="Tools shown per request: the best matches.")] = 3
    judge_tools: Annotated[
        bool,
        Field(
            description="The model judges the best 4 tools one by one before it calls, and calls the best one, or "
            "one for each part of the request. Takes an adapter with a call bias."
        ),
    ] = True
    history_turns: Annotated[int, Field(ge=0, le=100, description="Earlier turns of the session in each prompt.")] = 6


class LoopConfig(Section):
    """``[agent.loop]``: limits of one turn."""

    max_steps: Annotated[int, Field(ge=1, le=100, description="Model requests per turn.")] = 5
    max_seconds: Annotated[float, Field(gt=0, le=3600, description="Duration of a turn.")] = 120.0
    max_tokens: Annotated[int, Field(ge=16, le=32768, description="Tokens generated per model request.")] = 200
    temperature: Annotated[float, Field(ge=0, le=2, description="Sampling temperature. 0: greedy decoding.")] = 0.0


class GatewayConfig(Section):
    """``[agent.serving.gateway]``: OpenAI-compatible server that clients talk to."""

    host: Annotated[str, Field(description="Address to listen on. Beyond loopback, API keys are required.")] = (
        "127.0.0.1"
    )
    port: Annotated[Port, Field(description="TCP port.")] = 8765
    require_key: Annotated[bool, Field(description="API key required on loopback too.")] = False
    allowed_hosts: Annotated[
        tuple[Annotated[str, Field(pattern=r"^(\*\.)?[A-Za-z0-9.:\[\]_-]+$")], ...],
        Field(
            description="Host names accepted in requests besides those of loopback; `*.example.org` works too. "
            "Empty: loopback names only on a loopback host, any name elsewhere."
        ),
    ] = ()
    allowed_origins: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[a-z][a-z0-9+.-]*://[^/?#@*\s]+$")], ...],
        Field(description="Origins of web pages that may use the gateway, as `https://app.example`. Others get a 403."),
    ] = ()
    requests_per_minute: Annotated[
        int, Field(ge=0, description="Rate limit of each API key, and of all requests without a key. 0: no limit.")
    ] = 600
    body_limit_mib: Annotated[int, Field(ge=1, le=1024, description="Size of a request body.")] = 16
    log_queue: Annotated[int, Field(ge=1, le=100_000, description="Exchanges waiting to be written to the log.")] = 1024


class UpstreamConfig(Section):
    """``[[agent.serving.upstreams]]``: one vLLM server that `agent serve` does not manage."""

    url: Annotated[
        str,
        Field(
            pattern="^https?://[^/]+[^/]$|^unix:/.+$",
            description="Base address, without `/v1`; or `unix:` and the path of a Unix socket.",
        ),
    ]
    key_variable: Annotated[str, Field(description="Name of the environment variable with its API key.")] = ""
    each_address: Annotated[
        bool,
        Field(
            description="One server at every address of the name in `url`, looked up every 5 seconds. For a headless "
            "service of Kubernetes; not for a load balancer."
        ),
    ] = False
    adapters_folder: Annotated[
        Path | None, Field(description="Path of `data/adapters` on that server. Left out: the same path.")
    ] = None

    @model_validator(mode="after")
    def _each_address_has_no_certificate(self) -> "UpstreamConfig":
        if self.each_address and not self.url.startswith("http://"):
            raise ValueError("each_address needs a url that begins with http://: a certificate is for a name")
        return self


class ShadowConfig(Section):
    """``[agent.serving.shadow]``: another server answers people, and apprentice answers beside it, unseen."""

    url: Annotated[
        str,
        Field(
            pattern="^(https?://[^/]+[^/]|https?://.*[^/])?$",
            description="Base address of any OpenAI-compatible server, without `/v1`. Empty: no shadow mode.",
        ),
    ] = ""
    model: Annotated[str, Field(description="Name of the model there; clients may ask for it by this name, too.")] = ""
    key_variable: Annotated[str, Field(description="Name of the environment variable with its API key.")] = ""
    max_in_flight: Annotated[
        int, Field(ge=1, le=1024, description="Own answers under way beside it; others are dropped and counted.")
    ] = 4
    threshold: Annotated[
        float,
        Field(
            ge=0, le=1, description="Agreement about a tool that lets apprentice answer its calls: lower 95 % bound."
        ),
    ] = 0.9
    minimum_calls: Annotated[int, Field(ge=1, le=1_000_000, description="Comparisons of a tool needed for that.")] = 200
    switch_automatically: Annotated[
        bool, Field(description="Tools over the threshold are answered by apprentice without `evolver shadow switch`.")
    ] = False
    learn_from_upstream: Annotated[
        bool,
        Field(
            description="Lessons from what other models wrote: that server, and imported logs. "
            "Their terms may forbid it. Requests are used in either case."
        ),
    ] = False

    @model_validator(mode="after")
    def _names_a_model(self) -> Self:
        if self.url and not self.model:
            raise ValueError("model is empty; name the model that the server at url answers with")
        return self

    def check_for_everybody(self, *, per_tenant: bool) -> None:
        """Raise ValueError where tenants have adapters of their own: shadow mode has one switch of a tool for all."""
        if self.url and per_tenant:
            raise ValueError(
                "[agent.serving.shadow] url and [evolver] per_tenant = true are both set: shadow mode compares and "
                "switches tools for all tenants at once; take one of them out"
            )


class VllmConfig(Section):
    """``[agent.serving.vllm_process]``: managed vLLM, started by `agent serve` for the gateway alone."""

    device: Annotated[Literal["auto", "cpu", "gpu"], Field(description="Processor that runs the model.")] = "auto"
    max_model_len: Annotated[int, Field(ge=512, le=1048576, description="Context length in tokens.")] = 4096
    max_num_seqs: Annotated[int, Field(ge=1, le=1024, description="Sequences per batch.")] = 96
    max_loras: Annotated[int, Field(ge=1, le=64, description="Adapters per batch.")] = 2
    max_cpu_loras: Annotated[int, Field(ge=1, le=256, description="Adapters kept loaded.")] = 8
    max_lora_rank: Annotated[
        Literal[8, 16, 32, 64, 128], Field(description="Highest LoRA rank; at least `[evolver.train] rank`.")
    ] = 16
    cpu_kv_cache_gib: Annotated[int, Field(ge=1, le=1024, description="KV cache on a CPU.")] = 2
    gpu_memory_share: Annotated[
        float, Field(gt=0, lt=1, description="GPU memory for vLLM; with `[evolver.train] gpu_memory_share` at most 1.")
    ] = 0.6
    start_timeout_seconds: Annotated[float, Field(ge=10, le=3600, description="Time allowed for the start.")] = 300.0
    unhealthy_seconds: Annotated[
        float, Field(ge=5, le=3600, description="Time without an answer after which vLLM is restarted.")
    ] = 60.0
    memory_limit_gib: Annotated[
        float,
        Field(
            ge=0,
            description="Resident memory (not of a GPU) above which an idle vLLM is restarted. "
            "0: twice the memory held when it became ready, plus `cpu_kv_cache_gib`.",
        ),
    ] = 0.0
    idle_seconds: Annotated[
        float, Field(ge=1, le=86400, description="Time without a request after which vLLM counts as idle.")
    ] = 60.0
    constrain_calls: Annotated[
        bool, Field(description="Constrained decoding: the arguments of a call follow the schema of its tool.")
    ] = True


class ProfileConfig(Section):
    """``[agent.serving.profile]``: how the model is spoken to, where its own files do not say it, or say it wrongly.

    What is left out is found in the model's folder; `agent models show` prints it.
    """

    template: Annotated[
        str,
        Field(
            description="Chat template: `auto`, `model` (its own), `apprentice` (tools as signatures, calls in Hermes' "
            "form, in the model's own turns), or the path of a Jinja file.",
        ),
    ] = "auto"
    tool_parser: Annotated[str, Field(description="vLLM's parser for the model's calls. Empty: found.")] = ""
    call_opening: Annotated[str, Field(description="Text with which every call begins. Empty: found.")] = ""
    stop: Annotated[
        tuple[str, ...], Field(description="Tokens that end an answer, besides those in the model's files.")
    ] = ()
    bos: Annotated[
        Literal["auto", "yes", "no"], Field(description="Whether every text must begin with the BOS token.")
    ] = "auto"
    kind: Annotated[
        Literal["auto", "base", "instruct"],
        Field(description="Whether the model was taught to chat. A base model is asked by texts that it continues."),
    ] = "auto"


_MOVED = {("vllm_process", "tool_parser"): ("profile", "tool_parser", "hermes")}
"""Keys of ``[agent.serving]`` by the table and name that they once had: table and name now, and the value that was the
default and that says nothing."""


def _moved(serving: dict[str, Any]) -> dict[str, Any]:
    """Return ``serving`` with each text under an old key at its new one, unless something is set there."""
    for (old_table, old), (new_table, new, default) in _MOVED.items():
        before, now = serving.get(old_table), serving.get(new_table, {})
        if not isinstance(before, dict) or not isinstance(now, dict) or not isinstance(before.get(old), str):
            continue  # nothing to move, or a mistake that is refused as such
        serving = {**serving, old_table: {name: value for name, value in before.items() if name != old}}
        if before[old] != default:
            serving[new_table] = {new: before[old], **now}
    return serving


class ServingConfig(Section):
    """``[agent.serving]``: model and servers."""

    model: Annotated[
        str,
        Field(
            description="`default` (the embedded model), a name that `agent models list` shows, or the folder of a "
            "transformers model in safetensors."
        ),
    ] = "default"
    profile: ProfileConfig = ProfileConfig()
    upstreams: Annotated[
        tuple[UpstreamConfig, ...], Field(description="vLLM servers used instead of a managed one.")
    ] = ()
    literal_markers: Annotated[
        bool,
        Field(
            description="Template markers (`<|im_end|>`) in clients' text left as they are; such text can forge turns."
        ),
    ] = False
    gateway: GatewayConfig = GatewayConfig()
    shadow: ShadowConfig = ShadowConfig()
    vllm_process: VllmConfig = VllmConfig()

    @model_validator(mode="before")
    @classmethod
    def _old_keys(cls, values: Any) -> Any:
        return _moved(values) if isinstance(values, dict) else values


class RedactionConfig(Section):
    """``[agent.redaction]``: text removed before an interaction is stored."""

    secrets: Annotated[bool, Field(description="Removal of passwords, keys and tokens.")] = True
    personal_data: Annotated[
        bool, Field(description="Removal of mail addresses, telephone numbers, payment cards, IBANs and IP addresses.")
    ] = False


class TelemetryConfig(Section):
    """``[agent.telemetry]``: OpenTelemetry spans of stored turns; needs the extra `otel`."""

    enabled: Annotated[bool, Field(description="Spans of every stored turn, sent to an OTLP collector.")] = False
    endpoint: Annotated[
        str,
        Field(
            pattern="^(https?://.+)?$",
            description="Address of the collector's OTLP/HTTP, as `http://127.0.0.1:4318`. "
            "Empty: the environment variables of OpenTelemetry, else this address.",
        ),
    ] = ""
    capture_content: Annotated[
        bool, Field(description="Requests, answers, arguments and results in the spans, redacted as in the log.")
    ] = False


class AgentConfig(Section):
    """``[agent]``: conversation, serving and logging."""

    database: Annotated[
        str,
        Field(
            description="Postgres database of log, ledger and active adapter, for several gateways, as "
            "`postgresql://USER@HOST/DATABASE`; the password comes from `~/.pgpass` or `PGPASSWORD`. Empty: files in "
            "`data_folder`.",
        ),
        BeforeValidator(database_server.without_password),
    ] = ""
    prompt: PromptConfig = PromptConfig()
    loop: LoopConfig = LoopConfig()
    serving: ServingConfig = ServingConfig()
    redaction: RedactionConfig = RedactionConfig()
    telemetry: TelemetryConfig = TelemetryConfig()


class DataConfig(Section):
    """The part of config.toml that every command with a data folder reads."""

    data_folder: Annotated[
        Path, Field(description="Folder of logs, databases, models and adapters, relative to config.toml.")
    ] = Path("data")
    toolkit: ToolkitConfig = ToolkitConfig()
    agent: AgentConfig = AgentConfig()
    cluster: ClusterConfig = ClusterConfig()

    @model_validator(mode="after")
    def _servers_are_from_one_place(self) -> Self:
        if self.cluster.servers and self.agent.serving.upstreams:
            raise ValueError("[cluster] servers and [[agent.serving.upstreams]] are both set; take one of them out")
        return self

    @model_validator(mode="after")
    def _databases_are_found(self) -> Self:
        database_server.keep(self.data_folder, self.agent.database)
        return self


class Config(DataConfig):
    """config.toml as the ``agent`` command reads it; ``evolver`` checks its own tables."""

    evolver: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _shadow_is_for_everybody(self) -> Self:
        self.agent.serving.shadow.check_for_everybody(per_tenant=self.evolver.get("per_tenant") is True)
        return self
