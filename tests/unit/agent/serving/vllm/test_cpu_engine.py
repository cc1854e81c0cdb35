from pathlib import Path

import pytest

from agent.serving.vllm import cpu_engine


@pytest.mark.parametrize(
    ("logical", "physical", "threads"),
    [
        (1, 1, 1),
        (2, 2, 2),
        (2, 1, 2),  # two threads of one core: measured faster than one
        (4, 4, 4),
        (4, 2, 2),
        (8, 8, 7),
        (16, 16, 15),
        (32, 16, 15),
        (16, 0, 1),
    ],
)
def test_threads_by_cores(logical: int, physical: int, threads: int) -> None:
    assert cpu_engine.compute_threads(logical, physical) == threads


def test_the_worker_runs_in_the_engine_with_unbound_threads() -> None:
    environment = cpu_engine.environment(4)
    assert environment["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert environment["OMP_NUM_THREADS"] == "4"
    assert environment["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert environment["OMP_PROC_BIND"] == "false"
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert cpu_engine.ARGUMENTS == ("--distributed-executor-backend", "uni")


@pytest.mark.parametrize(
    ("file", "content", "cores"),
    [
        ("cpu.max", "max 100000\n", 1 << 20),
        ("cpu.max", "150000 100000\n", 2),
        ("cpu.max", "50000 100000\n", 1),
        ("cpu.max", "", 1 << 20),
        ("cpu/cpu.cfs_quota_us", "400000\n", 4),
        ("cpu/cpu.cfs_quota_us", "-1\n", 1 << 20),
        ("other", "", 1 << 20),
    ],
)
def test_a_control_group_limits_the_cores(tmp_path: Path, file: str, content: str, cores: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / file).write_text(content)
    assert cpu_engine._quota(tmp_path) == cores


def test_only_the_usable_cores_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_engine.os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setattr(cpu_engine, "_siblings", str)
    monkeypatch.setattr(cpu_engine, "_quota", lambda: 64)
    assert cpu_engine.usable_threads() == 4
    monkeypatch.setattr(cpu_engine, "_siblings", lambda cpu: str(cpu % 2))
    assert cpu_engine.usable_threads() == 2
    monkeypatch.setattr(cpu_engine, "_quota", lambda: 1)
    assert cpu_engine.usable_threads() == 1
