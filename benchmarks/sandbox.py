"""How fast a tool call is through the full isolation, against starting a process for it; and whether anything leaks.

Run with ``make bench-sandbox``, or ``python benchmarks/sandbox.py [--leak-calls N]``. All ratios come from one run,
with the cases taken in turns, so that a busy machine slows all alike.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from toolkit.config import SandboxConfig
from toolkit.registry import builtin_modules
from toolkit.sandbox import open_sandbox
from toolkit.sandbox.bubblewrap import BubblewrapSandbox

ROUNDS = 100
CALL = ("toolkit.builtin.number_theory", "least_common_multiple", {"first": 4, "second": 6})


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--leak-calls", type=int, default=20_000)
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    report: dict[str, float | str] = {}
    with open_sandbox(SandboxConfig(), builtin_modules()) as sandbox:
        for part in (lambda: _latency(sandbox), _throughput, lambda: _leaks(sandbox, chosen.leak_calls)):
            found = part()
            report.update(found)
            if not chosen.json:
                for name, value in found.items():
                    print(f"{name:46} {value}", flush=True)
    if chosen.json:
        print(json.dumps(report, indent=2))


def _latency(sandbox: BubblewrapSandbox) -> dict[str, float | str]:
    """Medians in ms of a warm call, of ``python3 -c pass`` in a fresh bwrap with the same binds, and of it alone.

    ``-S`` leaves out looking for installed packages, as the worker does; without it is what a plain command does.
    """
    inside = sandbox._command[: sandbox._command.index("--") + 1]
    python = sandbox._command[len(inside)]
    commands = {
        "bwrap + python": [*inside, python, "-c", "pass"],
        "bwrap + python -S": [*inside, python, "-S", "-c", "pass"],
        "python": [python, "-c", "pass"],
        "python -S": [python, "-S", "-c", "pass"],
    }
    cases: dict[str, Callable[[], object]] = {
        name: lambda command=command: subprocess.run(command, env={}, check=True) for name, command in commands.items()
    }
    cases["warm call"] = lambda: sandbox.run(*CALL)
    medians = _in_turns(cases, ROUNDS)
    medians["warm call, back to back"] = _in_turns({"": cases["warm call"]}, ROUNDS * 3)[""]
    report: dict[str, float | str] = {f"{name}, median ms": round(value, 2) for name, value in medians.items()}
    for warm in ("warm call", "warm call, back to back"):
        for name in commands:
            report[f"{name} / {warm}"] = round(medians[name] / medians[warm], 1)
    return report


def _in_turns(cases: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            start = time.perf_counter()
            case()
            taken[name].append((time.perf_counter() - start) * 1000)
    return {name: statistics.median(values) for name, values in taken.items()}


def _throughput(seconds: float = 3.0) -> dict[str, float | str]:
    """Calls per second on one core with one worker, and on all cores with one worker each."""
    cores = sorted(os.sched_getaffinity(0))
    rates: dict[int, float] = {}
    for count in sorted({1, len(cores)}):
        os.sched_setaffinity(0, cores[:count])
        try:
            rates[count] = _rate(count, seconds)
        finally:
            os.sched_setaffinity(0, cores)
    report: dict[str, float | str] = {
        f"calls per second on {count} cores": round(rate) for count, rate in rates.items()
    }
    return {**report, f"throughput on {len(cores)} cores / 1 core": round(rates[len(cores)] / rates[1], 2)}


def _rate(workers: int, seconds: float) -> float:
    counts = [0] * workers
    with open_sandbox(SandboxConfig(workers=workers), builtin_modules(), check=False) as sandbox:
        sandbox.run(*CALL)
        end = time.monotonic() + seconds

        def work(index: int) -> None:
            while time.monotonic() < end:
                sandbox.run(*CALL)
                counts[index] += 1

        threads = [threading.Thread(target=work, args=(index,)) for index in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return sum(counts) / seconds


def _leaks(sandbox: BubblewrapSandbox, calls: int) -> dict[str, float | str]:
    """Memory and descriptors of the host and of the worker, before and after ``calls`` calls."""
    for _ in range(200):
        sandbox.run(*CALL)
    before = _resources(sandbox)
    started = time.monotonic()
    for _ in range(calls):
        if not sandbox.run(*CALL).ok:
            sys.exit("a call failed")
    seconds = time.monotonic() - started
    after = _resources(sandbox)
    report: dict[str, float | str] = {f"{calls} calls, seconds": round(seconds, 1)}
    for name in before:
        report[f"{name}, before -> after"] = f"{before[name]} -> {after[name]}"
    return report


def _resources(sandbox: BubblewrapSandbox) -> dict[str, int]:
    server = sorted(_descendants(sandbox._idle[-1]._process.pid), key=lambda pid: -_resident_kib(pid))[0]
    return {
        "host memory KiB": _resident_kib(os.getpid()),
        "host descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - a count of names
        "worker memory KiB": _resident_kib(server),
        "worker processes": len(_descendants(sandbox._idle[-1]._process.pid)),
    }


def _resident_kib(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGESIZE") // 1024


def _descendants(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return []
    children = [int(child) for child in text.split()]
    return children + [below for child in children for below in _descendants(child)]


if __name__ == "__main__":
    main()
