"""Starts, watches and stops a vLLM of our own: a Unix socket, a random key, LoRA and constrained tool calls on.

One that other machines are to reach listens on a TCP port instead, and asks for its key on every route.
"""

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
from agent.models.profile import ModelProfile
from agent.serving.vllm import process_guard
from agent.serving.vllm.command_line import Address, command, environment, uses_gpu
from agent.serving.vllm_plugin.register import ANNOUNCEMENT
from toolkit.errors import UserError

GRACE_SECONDS = 10.0
LOG_LINES = 15
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
