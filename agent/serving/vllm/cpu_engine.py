"""Threads of the managed vLLM on a CPU.

vLLM 0.32 by default runs the model in a process of its own, reserves one core for its scheduler, and lets the scheduler
spin on that core. Here the model runs in the scheduler's process, and its threads get every core that pays.
"""

import math
import os
from pathlib import Path

ARGUMENTS = ("--distributed-executor-backend", "uni")
"""Command line of a vLLM whose worker runs in the engine's process."""

_SPARE_ONE_FROM = 8
"""Cores from which one is left to the API server and the gateway. Below, a thread less costs more than their share."""


def environment(threads: int) -> dict[str, str]:
    """Return the variables that belong to ARGUMENTS, for ``threads`` computing threads."""
    return {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # else vLLM on CPU makes "mp" of "uni"; the API server stays a process
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads starve beside training: over a second a token
        "OMP_PROC_BIND": "false",  # bound threads wait for cores that other processes use
    }


def compute_threads(logical: int, physical: int) -> int:
    """Return the number of computing threads for a machine with so many usable logical and physical cores.

    Every core of a small machine, one thread per physical core of a larger one, and one less from 8 cores on.
    """
    cores = logical if logical <= 2 else min(logical, physical)
    return cores - 1 if cores >= _SPARE_ONE_FROM else max(cores, 1)


def usable_threads() -> int:
    """Return the number of computing threads for this process's share of the machine (affinity and control group)."""
    cpus = os.sched_getaffinity(0)
    logical = min(len(cpus), _quota())
    return compute_threads(logical, min(len({_siblings(cpu) for cpu in cpus}), logical))


def _quota(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the cores that the control group allows, rounded up; a large number where it does not limit them."""
    try:
        quota, period = (root / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu" / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (root / "cpu" / "cpu.cfs_period_us").read_text(encoding="ascii").strip()
        except OSError:
            quota, period = "max", "1"
    limited = quota.isdigit() and period.isdigit() and int(period) > 0
    return max(1, math.ceil(int(quota) / int(period))) if limited else 1 << 20


def _siblings(cpu: int) -> str:
    """Return the logical cores of ``cpu``'s physical core, as Linux lists them."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text(encoding="ascii")
    except OSError:
        return str(cpu)
