"""vLLM is started again when it ends, with the active adapter loaded."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agent.errors import AdapterError
from agent.serving import active_adapter
from agent.serving.active_adapter import ActiveAdapter
from agent.serving.adapter_folder import folder_of, read_manifest, verify
from agent.serving.supervisor import Supervisor
from agent.serving.upstream import Upstream
from tests.fakes.model_server import ModelServer
from toolkit.errors import UserError


class Process:
    """A vLLM that ends when the test says so."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.api_key = "key"
        self.alive = True
        self.stopped = False
        self.server = ModelServer(key="key")
        self.server.__enter__()
        self.url = self.server.url

    def stop(self) -> None:
        self.alive = False
        self.stopped = True
        self.server.__exit__()


class Launcher:
    """Starts a Process for every call, or raises what stands next in ``problems``."""

    def __init__(self, *problems: UserError | None) -> None:
        self.started: list[Process] = []
        self._problems = list(problems)

    def __call__(self) -> Process:
        problem = self._problems.pop(0) if self._problems else None
        if problem is not None:
            raise problem
        self.started.append(Process(len(self.started) + 1))
        return self.started[-1]


def promote(data: Path, name: str) -> Path:
    folder = folder_of(data, name)
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    (folder / "adapter_config.json").write_text("{}")
    files = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    (folder / "manifest.json").write_text(json.dumps({"files": files, "calibration": None}))
    active_adapter.write(data, ActiveAdapter(name=name, sha256=read_manifest(folder).sha256))
    return folder


def watched(
    supervisor_of: Callable[[Callable[[float], Awaitable[None]]], Supervisor], happens: dict[int, Callable[[], None]]
) -> tuple[list[Upstream | None], list[float]]:
    """Let the supervisor watch; at its n-th pause ``happens[n]`` happens.."""
    changes: list[Upstream | None] = []
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) in happens:
            happens[len(pauses)]()
        if len(pauses) > max(happens) + 12:
            raise asyncio.CancelledError

    supervisor = supervisor_of(sleep)
    supervisor.start()
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(supervisor.watch(changes.append))
    supervisor.stop()
    return changes, pauses


def test_active_adapter_is_verified_and_loaded(tmp_path: Path) -> None:
    promote(tmp_path, "adapter-0007")
    launch = Launcher()
    supervisor = Supervisor(launch, tmp_path, lambda _: None)
    upstream = supervisor.start()
    assert upstream == Upstream(launch.started[0].url, "key", 1)
    assert launch.started[0].server.models == ["base", "adapter-0007"]
    supervisor.stop()
    assert launch.started[0].stopped


def test_base_needs_no_loading(tmp_path: Path) -> None:
    launch = Launcher()
    supervisor = Supervisor(launch, tmp_path, lambda _: None)
    supervisor.start()
    assert launch.started[0].server.models == ["base"]
    supervisor.stop()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"weightz"), "does not match its manifest"),
        (lambda folder: (folder / "adapter_config.json").unlink(), "adapter_config.json: No such file"),
        (lambda folder: (folder / "manifest.json").write_text('{"files": {}}'), "is not the one that was promoted"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "manifest.json is damaged"),
        (lambda folder: folder.rename(folder.with_name("gone")), "adapter adapter-0007 is missing"),
    ],
)
def test_a_damaged_adapter_does_not_serve_and_leaves_nothing_running(
    tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(promote(tmp_path, "adapter-0007"))
    launch = Launcher()
    with pytest.raises(AdapterError, match=f"{message}.*; serve another one with: evolver rollback"):
        Supervisor(launch, tmp_path, lambda _: None).start()
    assert launch.started[0].stopped
    assert launch.started[0].server.models == ["base"]


def test_a_vllm_that_ends_is_started_again_with_the_adapter_of_now(tmp_path: Path) -> None:
    launch = Launcher()

    def end() -> None:
        promote(tmp_path, "adapter-0001")
        launch.started[0].alive = False

    changes, _ = watched(lambda sleep: Supervisor(launch, tmp_path, lambda _: None, sleep=sleep), {1: end})
    assert changes == [None, Upstream(launch.started[1].url, "key", 2)]
    assert launch.started[0].stopped
    assert launch.started[1].server.models == ["base", "adapter-0001"]


def test_starts_that_fail_are_repeated_after_growing_pauses(tmp_path: Path) -> None:
    said: list[str] = []
    launch = Launcher(None, *[UserError(f"no memory {n}; free some") for n in range(4)])

    def end() -> None:
        launch.started[0].alive = False

    changes, pauses = watched(
        lambda sleep: Supervisor(launch, tmp_path, said.append, sleep=sleep, clock=lambda: 0.0), {1: end}
    )
    assert pauses[1:10:2] == [0, 1, 2, 4, 8]
    assert [line for line in said if "no memory" in line] == [f"no memory {n}; free some" for n in range(4)]
    assert changes[-1] is not None
    assert changes[:-1] == [None] * 5


def test_verify_follows_every_file(tmp_path: Path) -> None:
    folder = promote(tmp_path, "adapter-0001")
    manifest = verify(folder)
    assert set(manifest.files) == {"adapter_model.safetensors", "adapter_config.json"}
    assert manifest.logit_bias is None
