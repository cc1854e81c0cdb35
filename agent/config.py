"""The ``[agent.*]`` tables of config.toml."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from toolkit.config import Section, ToolkitConfig

Port = Annotated[int, Field(ge=0, le=65535)]


class PromptConfig(Section):
    """``[agent.prompt]``."""

    tools_in_prompt: Annotated[int, Field(ge=1, le=128, description="the best matching tools shown per request")] = 3
    history_turns: Annotated[int, Field(ge=0, le=100, description="earlier turns of the session sent along")] = 6


class LoopConfig(Section):
    """``[agent.loop]``: the limits of one turn."""

    max_steps: Annotated[int, Field(ge=1, le=100, description="model requests per turn")] = 5
    max_seconds: Annotated[float, Field(gt=0, le=3600)] = 120.0
    max_tokens: Annotated[int, Field(ge=16, le=32768, description="generated tokens per model request")] = 200
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0


class GatewayConfig(Section):
    """``[agent.serving.gateway]``: the door that people and programs use."""

    host: str = "127.0.0.1"
    port: Port = 8765
    require_key: Annotated[bool, Field(description="also on a loopback host; elsewhere a key is always needed")] = False
    allowed_hosts: Annotated[
        tuple[Annotated[str, Field(pattern=r"^(\*\.)?[A-Za-z0-9.:\[\]_-]+$")], ...],
        Field(description="names by which it may be asked, besides loopback's; empty: elsewhere than there any"),
    ] = ()
    requests_per_minute: Annotated[
        int, Field(ge=0, description="for each API key, and for all without a key together; 0: no limit")
    ] = 600
    body_limit_mib: Annotated[int, Field(ge=1, le=1024, description="of a request")] = 16
    log_queue: Annotated[int, Field(ge=1, le=100_000, description="exchanges that may wait to be written")] = 1024


class UpstreamConfig(Section):
    """``[[agent.serving.upstreams]]``: a vLLM that somebody else runs."""

    url: Annotated[str, Field(pattern="^https?://[^/]+[^/]$", description="without /v1")]
    key_variable: Annotated[str, Field(description="environment variable that holds its key")] = ""
    adapters_folder: Annotated[Path | None, Field(description="data/adapters, as that server sees it")] = None


class VllmConfig(Section):
    """``[agent.serving.vllm_process]``: the managed vLLM."""

    port: Annotated[Port, Field(description="0: any free port")] = 0
    device: Literal["auto", "cpu", "gpu"] = "auto"
    max_model_len: Annotated[int, Field(ge=512, le=1048576)] = 4096
    max_num_seqs: Annotated[int, Field(ge=1, le=1024)] = 32
    max_loras: Annotated[int, Field(ge=1, le=64, description="adapters in one batch")] = 2
    max_cpu_loras: Annotated[int, Field(ge=1, le=256, description="adapters kept loaded")] = 8
    max_lora_rank: Annotated[Literal[8, 16, 32, 64, 128], Field()] = 16
    cpu_kv_cache_gib: Annotated[int, Field(ge=1, le=1024)] = 2
    gpu_memory_share: Annotated[float, Field(gt=0, lt=1)] = 0.6
    start_timeout_seconds: Annotated[float, Field(ge=10, le=3600)] = 300.0
    unhealthy_seconds: Annotated[float, Field(ge=5, le=3600, description="without an answer; then restarted")] = 60.0
    memory_limit_gib: Annotated[
        float, Field(ge=0, description="beyond it, restarted when idle; 0: twice as at the start, and cpu_kv_cache_gib")
    ] = 0.0
    idle_seconds: Annotated[float, Field(ge=1, le=86400, description="without a request: idle")] = 60.0
    tool_parser: str = "hermes"
    constrain_calls: Annotated[bool, Field(description="a call must have the form of its tool's schema")] = True


class ServingConfig(Section):
    """``[agent.serving]``."""

    model: Annotated[str, Field(description='"default", or the folder of a transformers model')] = "default"
    upstreams: Annotated[tuple[UpstreamConfig, ...], Field(description="instead of the managed vLLM")] = ()
    gateway: GatewayConfig = GatewayConfig()
    vllm_process: VllmConfig = VllmConfig()


class RedactionConfig(Section):
    """``[agent.redaction]``: what is removed before an interaction is stored."""

    secrets: bool = True
    personal_data: bool = False


class AgentConfig(Section):
    """``[agent]``."""

    prompt: PromptConfig = PromptConfig()
    loop: LoopConfig = LoopConfig()
    serving: ServingConfig = ServingConfig()
    redaction: RedactionConfig = RedactionConfig()


class Config(Section):
    """config.toml as the ``agent`` command reads it; ``evolver`` checks its own tables."""

    data_folder: Path = Path("data")
    toolkit: ToolkitConfig = ToolkitConfig()
    agent: AgentConfig = AgentConfig()
    evolver: dict[str, Any] = Field(default_factory=dict)
