"""A server that goes on after the command that started it: ``agent serve --detach`` and ``agent stop``."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TextIO

import httpx

from agent.config import Config
from agent.errors import StorageError
from agent.serving import serving_state
from agent.storage.process_lock import SERVE, process_lock
from toolkit.elapsed import Elapsed
from toolkit.errors import UserError

_ERROR = "agent: "
_LOOK_SECONDS = 0.2
_STOP_SECONDS = 60.0
_PREPARE_SECONDS = 600.0
"""Longest preparation of the model, before vLLM's own start_timeout_seconds begin."""


def start(config: Config, config_path: Path | None) -> str:
    """Start a server in the background; returns its URL once it is healthy. What it says goes to stderr meanwhile.

    Raises UserError with the server's own words when it does not start.
    """
    running = serving_state.read(config.data_folder)
    if running is not None:
        print("already serving", file=sys.stderr)
        return running.gateway_url
    log_path = _fresh_log(config.data_folder)
    command = [sys.executable, "-P", "-m", "agent.cli", "serve"]
    command += ["--config", str(config_path.resolve())] if config_path else []
    with log_path.open("ab") as log, log_path.open(encoding="utf-8", errors="replace") as said:
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, close_fds=True
        )
        seconds = _PREPARE_SECONDS + config.agent.serving.vllm_process.start_timeout_seconds
        try:
            with Elapsed("starting") as elapsed:
                return _wait_until_healthy(config, server, said, time.monotonic() + seconds, elapsed)
        except BaseException:
            _end(server)
            raise


def stop(config: Config) -> bool:
    """Stop the server of this data folder, also one that is starting. Returns False when there is none."""
    if not (config.data_folder / SERVE).exists():
        return False
    while True:
        with process_lock(config.data_folder, SERVE) as pid:
            if pid is None:
                return False
        if pid:
            break
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    with Elapsed("stopping"):
        while time.monotonic() < deadline:
            with process_lock(config.data_folder, SERVE) as holder:
                if holder != pid:
                    return True
            time.sleep(_LOOK_SECONDS)
    raise UserError(f"the server does not stop; end it with: kill -9 {pid}")


def _wait_until_healthy(
    config: Config, server: "subprocess.Popen[bytes]", said: TextIO, deadline: float, elapsed: Elapsed
) -> str:
    problem: list[str] = []
    while time.monotonic() < deadline:
        ended = server.poll() is not None
        for line in said.read().splitlines():
            if problem or line.startswith(_ERROR):
                problem.append(line.removeprefix(_ERROR))
            else:
                elapsed.wipe()
                print(line, file=sys.stderr, flush=True)
        running = serving_state.read(config.data_folder)
        if running is not None and _healthy(running.gateway_url):
            return running.gateway_url
        if ended and server.returncode != 0:
            raise UserError("\n".join(problem) or f"the server ended; see {said.name}")
        if ended and not _someone_serves(config.data_folder):
            raise UserError("the server was stopped; start it again with: agent serve")
        time.sleep(_LOOK_SECONDS)
    raise UserError("the server was not ready in time; see logs/serve.log and logs/vllm.log in the data folder")


def _someone_serves(data_folder: Path) -> bool:
    with process_lock(data_folder, SERVE) as holder:
        return holder is not None


def _healthy(url: str) -> bool:
    try:
        with httpx.Client(trust_env=False, verify=False) as client:  # plain HTTP on this machine
            return client.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def _end(server: "subprocess.Popen[bytes]") -> None:
    if server.poll() is None:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(_STOP_SECONDS)


def _fresh_log(data_folder: Path) -> Path:
    """An empty logs/serve.log; the one before is kept beside it."""
    path = data_folder / "logs" / "serve.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.replace(path.with_suffix(".log.1"))
        path.touch()
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}; check that folder's disk and rights") from error
    return path
