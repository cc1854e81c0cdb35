"""Prepares the model that is served, and starts a vLLM on it."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from agent.adapters.package import model_sha256
from agent.config import Config
from agent.models import default_model
from agent.models.detect import profile_of
from agent.models.profile import EMBEDDED, ModelProfile
from agent.models.template_markers import Markers, configured_markers
from agent.serving.vllm.process import VllmServer
from toolkit.errors import UserError

Say = Callable[[str], None]
_KEPT_LOGS = 5


@dataclass(frozen=True)
class ServedModel:
    """The model that is served, and how it is spoken to. ``base_sha256`` is its hash. Before it is prepared, ``folder``
    is none and the hash is ""."""

    markers: Markers
    profile: ModelProfile = EMBEDDED
    folder: Path = Path()
    base_sha256: str = ""

    @property
    def template_sha256(self) -> str:
        """The hash of its chat template."""
        return self.profile.template_sha256


class Launcher:
    """Prepares the model of ``config`` once and starts vLLM on it, any number of times, on the Unix socket ``socket``.

    ``give_up`` ends a start under way. ``say`` gets a line for each step.
    """

    def __init__(self, config: Config, socket: Path, say: Say) -> None:
        self.give_up = threading.Event()
        self.model = ServedModel(configured_markers(config.agent.serving, None))
        self._config, self._socket, self._say = config, socket, say
        self._said = ""

    def prepare(self) -> ServedModel:
        """Prepare the model, and return it without its hash. Raises UserError where it cannot be had."""
        serving = self._config.agent.serving
        folder = default_model.resolve(serving.model, self._config.data_folder, self._progress("model"))
        profile = profile_of(folder, serving.profile)
        self.model = replace(self.model, folder=folder, markers=configured_markers(serving, folder), profile=profile)
        return self.model

    def __call__(self) -> VllmServer:
        """Start vLLM. Raises UserError, with nothing left running."""
        model = self.prepare()
        log = self._config.data_folder / "logs" / "vllm.log"
        keep_log(log)
        with ThreadPoolExecutor(1) as beside:  # reading a large model again takes a while; starting it takes longer
            hashed = beside.submit(model_sha256, model.folder)
            server = VllmServer.start(
                self._config.agent.serving.vllm_process,
                model.folder,
                log,
                self._socket,
                profile=model.profile,
                progress=self._progress("vLLM"),
            )
        self.model = replace(model, base_sha256=hashed.result())
        return server

    def _progress(self, what: str) -> Callable[[str, float], None]:
        def show(step: str, seconds: float) -> None:
            if self.give_up.is_set():
                raise UserError("stopped while starting; start again with: agent serve")
            if (line := f"{what}: {step}") != self._said:
                self._said = line
                self._say(f"{line} ({seconds:.0f} s)" if seconds >= 1 else line)

        return show


def keep_log(log: Path) -> None:
    """Rename vllm.log to vllm.log.1, that one to vllm.log.2, and so on: what a vLLM said before it died stays."""
    for number in range(_KEPT_LOGS - 1, -1, -1):
        older = log.with_suffix(f".log.{number}") if number else log
        if older.exists():
            older.replace(log.with_suffix(f".log.{number + 1}"))
