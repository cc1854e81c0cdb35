"""The command line and the environment that a vLLM of our own is started with."""

import importlib.util
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from agent.config import VllmConfig
from agent.models import vllm_arguments
from agent.models.detect import profile_of
from agent.models.profile import ModelProfile
from agent.serving.vllm import cpu_engine
from agent.serving.vllm.cpu_features import serving_dtype
from toolkit.errors import PrerequisiteError

KEEP_ALIVE_SECONDS = 75
"""Time for which vLLM and the gateway keep an idle connection. It is longer than that of their clients, which could
otherwise use a connection that is being closed."""


KEY_CHECK = "agent.serving.vllm_plugin.key_check.KeyCheck"

Address = tuple[str, int]
"""IP address and TCP port."""


def command(
    config: VllmConfig,
    model_folder: Path,
    socket: Path,
    *,
    gpu: bool,
    profile: ModelProfile | None = None,
    tcp: Address | None = None,
    gpus: int = 1,
) -> list[str]:
    """Return vLLM's command line. The key is not in it: any user of the machine can read a command line.

    A chat template that is no file yet is written beside ``socket``.
    """
    settings = {
        "--model": str(model_folder),
        "--served-model-name": "base",
        **({"--uds": str(socket)} if tcp is None else _listening_on(*tcp)),
        # vLLM's own is always 0: after each start, makers would sample what they sampled after the one before.
        "--seed": str(secrets.randbelow(2**31)),
        "--dtype": "bfloat16" if gpu else serving_dtype(),
        "--max-model-len": str(config.max_model_len),
        "--max-num-seqs": str(config.max_num_seqs),
        "--max-loras": str(config.max_loras),
        "--max-cpu-loras": str(config.max_cpu_loras),
        "--max-lora-rank": str(config.max_lora_rank),
        "--tool-strict-level": "parameter" if config.constrain_calls else "auto",
        **vllm_arguments.of_profile(profile or profile_of(model_folder), socket.parent / "profile"),
        "--gpu-memory-utilization": str(config.gpu_memory_share),
    }
    switches = ["--enable-lora", "--enable-prefix-caching", "--enable-auto-tool-choice"]
    if not gpu:
        switches.append("--enforce-eager")  # with LoRA, vLLM compiles nothing on CPU anyway
        # Only whole blocks are found again; 128 tokens, the default on CPU, is longer than what most prompts share.
        switches += ["--block-size", "32", *cpu_engine.ARGUMENTS]
    elif gpus > 1:
        switches += ["--tensor-parallel-size", str(gpus), "--distributed-executor-backend", "mp"]
    module = ["-m", "vllm.entrypoints.openai.api_server"]
    return [sys.executable, *module, *(part for pair in settings.items() for part in pair), *switches]


def _listening_on(host: str, port: int) -> dict[str, str]:
    return {"--host": host, "--port": str(port), "--middleware": KEY_CHECK}


def environment(
    base: Mapping[str, str], config: VllmConfig, api_key: str, sockets: Path, *, gpu: bool
) -> dict[str, str]:
    """Return ``base`` with vLLM's settings: no network, no usage report, only this project's plugin.

    vLLM's processes talk to each other over sockets in the folder ``sockets``.
    """
    settings = {
        "VLLM_API_KEY": api_key,
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "VLLM_PLUGINS": "apprentice_cpu_lora",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": str(KEEP_ALIVE_SECONDS),
        "VLLM_LOGGING_LEVEL": "INFO",
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_RPC_BASE_PATH": str(sockets),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
    }
    if not gpu:
        settings |= {
            **cpu_engine.environment(cpu_engine.usable_threads()),
            "VLLM_CPU_KVCACHE_SPACE": str(config.cpu_kv_cache_gib),
            "TORCHDYNAMO_DISABLE": "1",  # vLLM compiles one function at the first logprobs request: 20 s, needs g++
        }
    return {**base, **settings}


def uses_gpu(config: VllmConfig) -> bool:
    """Return whether vLLM will run on a GPU. Raises PrerequisiteError where vLLM is not installed."""
    if importlib.util.find_spec("vllm") is None:
        raise PrerequisiteError("vLLM is not installed; run: make -B setup (with a GPU: make setup EXTRA=gpu)")
    if config.device == "auto":
        return Path("/dev/nvidiactl").exists() and not is_cpu_build()
    return config.device == "gpu"


def is_cpu_build() -> bool:
    """Return whether the vLLM that is installed here is one for CPUs."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        version("vllm-cpu")
    except PackageNotFoundError:
        return False
    return True
