"""Starts, watches and stops a vLLM of our own: a Unix socket, a random key, LoRA and constrained tool calls on.

One that other machines are to reach listens on a TCP port instead, and asks for its key on every route.
"""

import importlib.util
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from agent.config import VllmConfig
from agent.http.address import http_client, is_listening, of_socket, of_tcp
from agent.models import vllm_arguments
from agent.models.detect import profile_of
from agent.models.profile import ModelProfile
from agent.serving.vllm import cpu_engine, process_guard
from agent.serving.vllm.cpu_features import serving_dtype
from agent.serving.vllm_plugin.register import ANNOUNCEMENT
from toolkit.errors import PrerequisiteError, UserError

GRACE_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 75
"""Time for which vLLM and the gateway keep an idle connection. It is longer than that of their clients, which could
otherwise use a connection that is being closed."""
LOG_LINES = 15
KEY_CHECK = "agent.serving.vllm_plugin.key_check.KeyCheck"

Address = tuple[str, int]
"""IP address and TCP port."""
Progress = Callable[[str, float], None]
"""Told what the start is doing, and for how many seconds it has been running."""

_STEPS = {
    "Starting to load model": "loading the model",
    ANNOUNCEMENT: "preparing the engine",
    "Starting vLLM server": "opening the socket",
}


class VllmServer:
    """A running vLLM. ``url`` is its address (``agent.http.address``); requests carry
    ``Authorization: Bearer api_key``;
    ``pid`` is vLLM's own.

    Ends with this process, however that ends (``agent.serving.vllm.process_guard``). Also a context manager.
    """

    def __init__(self, process: subprocess.Popen[bytes], pid: int, url: str, api_key: str, log: Path) -> None:
        self.pid = pid
        self.url = url
        self.api_key = api_key
        self.log = log
        self._process = process

    @classmethod
    def start(
        cls,
        config: VllmConfig,
        model_folder: Path,
        log: Path,
        socket: Path,
        *,
        profile: ModelProfile | None = None,
        tcp: Address | None = None,
        gpus: int = 1,
        base: Mapping[str, str] = os.environ,
        progress: Progress = lambda _step, _seconds: None,
    ) -> Self:
        """Start vLLM on ``model_folder``, its output to ``log``; return when it answers on the Unix socket ``socket``.

        ``profile``: how the model is spoken to; None: as its folder says. vLLM 0.32 asks for its key on some routes
        only, so the socket's folder must be closed to other users. What lies at ``socket`` is replaced. ``tcp``: it
        answers there instead, with the key on every route. ``gpus`` share the model; ``base`` is its environment.

        Raises PrerequisiteError (vLLM missing), UserError (it died at start or took too long; the last lines of its log
        are shown). No process is left when this raises.
        """
        gpu = uses_gpu(config)
        api_key = secrets.token_urlsafe(32)
        socket.unlink(missing_ok=True)
        return cls.spawn(
            command(config, model_folder, socket, gpu=gpu, profile=profile, tcp=tcp, gpus=gpus),
            environment(base, config, api_key, socket.parent, gpu=gpu),
            url=of_socket(socket) if tcp is None else of_tcp(*tcp),
            api_key=api_key,
            log=log,
            timeout_seconds=config.start_timeout_seconds,
            must_log="" if gpu else ANNOUNCEMENT,
            progress=progress,
        )

    @classmethod
    def spawn(
        cls,
        argv: list[str],
        env: Mapping[str, str],
        *,
        url: str,
        api_key: str,
        log: Path,
        timeout_seconds: float,
        must_log: str = "",
        progress: Progress = lambda _step, _seconds: None,
    ) -> Self:
        """Run ``argv`` under the guard until ``url``/health answers and the log says ``must_log``."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-I", process_guard.__file__, str(os.getpid()), str(GRACE_SECONDS), *argv],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=dict(env),
                start_new_session=True,
            )
        assert process.stdout is not None
        try:
            server = cls(process, _first_number(process.stdout.readline(), log), url, api_key, log)
            server._wait_until_healthy(timeout_seconds, must_log, progress)
        except BaseException:
            _stop(process)
            raise
        return server

    @property
    def alive(self) -> bool:
        """Return whether vLLM is still running."""
        return self._process.poll() is None

    def memory_bytes(self) -> int:
        """Return the memory of vLLM and its children (resident, without what they share with files)."""
        return process_guard.memory_bytes(self.pid)

    def stop(self) -> None:
        """End vLLM and all that it started; returns when they are gone. May be called again."""
        _stop(self._process)
        if self._process.returncode < 0:
            process_guard.kill_session(self.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait_until_healthy(self, timeout_seconds: float, must_log: str, progress: Progress) -> None:
        began = time.monotonic()
        with http_client(self.url, timeout=2.0) as client:
            while not (is_listening(self.url) and _healthy(client)):
                passed = time.monotonic() - began
                if not self.alive:
                    raise UserError(_died(self.log))
                if passed > timeout_seconds:
                    raise UserError(
                        f"vLLM did not answer within {timeout_seconds:.0f} s; see {self.log}, or raise "
                        "agent.serving.vllm_process.start_timeout_seconds"
                    )
                progress(_step(self.log), passed)
                time.sleep(0.1)
        if must_log and must_log not in _read(self.log):
            raise UserError(
                f"vLLM did not load apprentice's plugin, so LoRA on CPU would answer wrongly; see {self.log} and "
                "install apprentice into the same environment as vLLM: make -B setup"
            )
        progress("ready", time.monotonic() - began)


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


def _healthy(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _first_number(line: bytes, log: Path) -> int:
    if not line.strip():
        raise UserError(_died(log))
    return int(line)


def _stop(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    process.wait()


def _died(log: Path) -> str:
    text = _read(log)
    fix = "look at the lines above the last in that file"
    if "No space left on device" in text:
        fix = "free some disk space"
    elif "not enough memory" in text.lower() or "MemoryError" in text or "Cannot allocate memory" in text:
        fix = "free memory, or lower agent.serving.vllm_process.cpu_kv_cache_gib and max_model_len"
    return f"vLLM died at start; the end of {log}:\n{_last_lines(log)}\n{fix}"


def _last_lines(log: Path) -> str:
    lines = [line for line in _read(log).splitlines() if line.strip()]
    return "\n".join(f"  {line}" for line in lines[-LOG_LINES:]) or "  (empty)"


def _step(log: Path) -> str:
    text = _read(log)
    return next((step for words, step in reversed(_STEPS.items()) if words in text), "importing")


def _read(log: Path) -> str:
    try:
        return log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
