"""A folder with a config.toml and the agent command in it, on a vLLM that takes no minute to start."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx

from agent.serving import serving_state
from tests.fakes.model_vllm import install, write_model
from tests.fakes.waiting import wait_until


class House:
    """A folder with a config.toml, and the agent command in it."""

    def __init__(
        self, folder: Path, port: int = 0, *, gateway: str = "", upstreams: str = "", cluster: str = ""
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.environment = install(folder / "fake")
        model = write_model(folder / "model")
        self.config = folder / "config.toml"
        self.config.write_text(
            f'[agent.serving]\nmodel = "{model}"\n{upstreams}\n[agent.serving.gateway]\nport = {port}\n{gateway}\n'
            f'[agent.serving.vllm_process]\ndevice = "cpu"\nstart_timeout_seconds = 120\n[cluster]\n{cluster}\n'
        )

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-P", "-m", "agent.cli", *arguments, "--config", str(self.config)]

    def agent(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {**self.environment, **more}
        return subprocess.run(
            self.command(*arguments), env=environment, capture_output=True, text=True, timeout=600, check=False
        )

    @contextlib.contextmanager
    def serving(self) -> Iterator[serving_state.ServingState]:
        """A server in the foreground; killed at the end if it still runs."""
        with subprocess.Popen(self.command("serve"), env=self.environment, stderr=subprocess.PIPE, text=True) as server:
            try:
                wait_until(lambda: serving_state.read(self.data) or server.poll() is not None)
                running = serving_state.read(self.data)
                assert running is not None, server.communicate()
                yield running
            finally:
                server.kill()


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def health(url: str) -> dict[str, object]:
    return httpx.get(f"{url}/health", trust_env=False, timeout=60).json()
