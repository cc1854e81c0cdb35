"""vLLM is started again when it ends, with the active adapter loaded."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agent.adapters import required
from agent.adapters.package import check_adapter, folder_of
from agent.config import VllmConfig
from agent.errors import AdapterError
from agent.serving.upstreams.connection import Upstream
from agent.serving.vllm.supervisor import Supervisor
from tests.fakes.adapter_folder import make_adapter, sha256_of
from tests.fakes.model_server import ModelServer
from toolkit.errors import UserError


class Process:
    """A vLLM that ends when the test says so."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.api_key = "key"
        self.alive = True
        self.stopped = False
        self.memory = 1 << 30
        self.server = ModelServer(key="key")
        self.server.__enter__()
        self.url = self.server.url

    def memory_bytes(self) -> int:
        return self.memory

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
    return make_adapter(data, name, promote=True)


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


def test_an_adapter_that_learned_with_another_template_is_loaded_and_said(tmp_path: Path) -> None:
    promote(tmp_path, "adapter-0007")
    launch, said = Launcher(), list[str]()
    supervisor = Supervisor(launch, tmp_path, said.append, template_sha256=lambda: "another")
    supervisor.start()
    assert launch.started[0].server.models == ["base", "adapter-0007"]
    assert [line for line in said if "learned with another chat template" in line] == said[1:]
    supervisor.stop()


def test_base_needs_no_loading(tmp_path: Path) -> None:
    launch = Launcher()
    supervisor = Supervisor(launch, tmp_path, lambda _: None)
    supervisor.start()
    assert launch.started[0].server.models == ["base"]
    supervisor.stop()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"weightz"),
            "is not the file that the manifest names",
        ),
        (lambda folder: (folder / "adapter_config.json").unlink(), "missing or foreign files: adapter_config.json"),
        (lambda folder: (folder / "manifest.json").write_text('{"files": {}}'), "is not the one that was loaded first"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "is not the one that was loaded first"),
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
    manifest = check_adapter(folder)
    assert set(manifest.files) == {"adapter_model.safetensors", "adapter_config.json"}
    assert manifest.logit_bias is None


class Patient:
    """A supervisor's view of a vLLM that is alive: how much it holds, whether it answers, whether it is asked."""

    def __init__(self, tmp_path: Path, **config: float) -> None:
        self.now = 0.0
        self.idle = 0.0
        self.launch = Launcher()
        self.said: list[str] = []
        self.supervisor = Supervisor(
            self.launch,
            tmp_path,
            self.said.append,
            config=VllmConfig.model_validate(config),
            idle_seconds=lambda: self.idle,
            clock=lambda: self.now,
        )
        self.supervisor.start()

    def reason(self, seconds: float) -> str:
        self.now += seconds
        return asyncio.run(self.supervisor._reason_to_restart())


def test_a_vllm_that_no_longer_answers_is_restarted(tmp_path: Path) -> None:
    patient = Patient(tmp_path, unhealthy_seconds=30)
    assert patient.reason(6) == ""
    patient.launch.started[0].server.stop()
    assert [patient.reason(6) for _ in range(5)] == [""] * 5
    assert patient.reason(6) == "vLLM has not answered for 30 s"
    patient.supervisor.stop()


def test_a_vllm_that_has_grown_is_restarted_when_nobody_asks(tmp_path: Path) -> None:
    patient = Patient(tmp_path, memory_limit_gib=2, idle_seconds=60)
    patient.launch.started[0].memory = 3 << 30
    assert patient.reason(6) == ""
    patient.idle = 61
    assert patient.reason(6) == "vLLM has grown to 3.0 GiB, more than 2.0, and nobody is asking"
    patient.launch.started[0].memory = 1 << 30
    assert patient.reason(6) == ""
    patient.supervisor.stop()


def test_without_a_limit_it_may_grow_to_twice_its_size_and_a_full_cache(tmp_path: Path) -> None:
    patient = Patient(tmp_path, cpu_kv_cache_gib=4)  # ready, a Process holds 1 GiB
    patient.idle = 61
    patient.launch.started[0].memory = 6 << 30
    assert patient.reason(6) == ""
    patient.launch.started[0].memory = (6 << 30) + (1 << 29)
    assert patient.reason(6) == "vLLM has grown to 6.5 GiB, more than 6.0, and nobody is asking"
    patient.supervisor.stop()


def test_every_adapter_that_is_due_is_loaded_again(tmp_path: Path) -> None:
    for name in ("adapter-0002", "adapter-0003", "adapter-0001"):
        promote(tmp_path, name)
    due = ("adapter-0002", "adapter-0003")
    required.write(tmp_path, {name: sha256_of(folder_of(tmp_path, name)) for name in due})
    launch = Launcher()

    def end() -> None:
        launch.started[0].alive = False

    watched(lambda sleep: Supervisor(launch, tmp_path, lambda _: None, sleep=sleep), {1: end})
    assert [p.server.models for p in launch.started] == [["base", "adapter-0001", "adapter-0002", "adapter-0003"]] * 2
