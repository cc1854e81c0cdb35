"""The plugin on vLLMs of other kinds, with stand-ins for vLLM's own modules; the real one has its tests elsewhere."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from agent.serving import vllm_plugin
from agent.serving.vllm_plugin import register


class Platform:
    def __init__(self, cpu: bool) -> None:
        self._cpu = cpu

    def is_cpu(self) -> bool:
        return self._cpu

    @classmethod
    def get_punica_wrapper(cls) -> str:
        return "vLLM's own"


@pytest.fixture
def closed() -> list[bool]:
    """Gets an entry when the ports are closed."""
    return []


@pytest.fixture
def stands_on(monkeypatch: pytest.MonkeyPatch, closed: list[bool]):
    def stand(platform: object) -> None:
        module = ModuleType("vllm.platforms")
        module.current_platform = platform  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "vllm", ModuleType("vllm"))
        monkeypatch.setitem(sys.modules, "vllm.platforms", module)
        groups = ModuleType("lone_groups")
        groups.install = lambda: closed.append(True)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "agent.serving.vllm_plugin.lone_groups", groups)
        # Where another test has imported the real one, the package holds it too.
        monkeypatch.setattr(vllm_plugin, "lone_groups", groups, raising=False)

    return stand


def test_on_a_gpu_build_only_the_ports_are_closed(stands_on, closed: list[bool]) -> None:
    platform = Platform(cpu=False)
    stands_on(platform)
    register.register()
    assert platform.get_punica_wrapper() == "vLLM's own"
    assert closed == [True]


def test_on_a_cpu_build_that_the_cure_does_not_fit_lora_refuses(stands_on, monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(Platform):
        pass

    platform = Other(cpu=True)
    stands_on(platform)
    for name in ("vllm.lora", "vllm.lora.punica_wrapper"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    changed = SimpleNamespace(PunicaWrapperCPU=type("PunicaWrapperCPU", (), {"add_lora_linear": lambda self, x: None}))
    monkeypatch.setitem(sys.modules, "vllm.lora.punica_wrapper.punica_cpu", changed)
    register.register()
    with pytest.raises(RuntimeError, match="add_lora_linear takes self, x in this vLLM"):
        platform.get_punica_wrapper()
