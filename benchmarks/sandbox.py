"""How fast a tool call is through the full isolation, against starting a process for it; and whether anything leaks.

Run with ``make bench-sandbox``, or ``python -m benchmarks.sandbox [--leak-calls N]``. All ratios come from one run,
with the cases taken in turns, so that a busy machine slows all alike. What is expected of them is said at the end;
exit code 1 when one of them is not met.
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
from toolkit.sandbox import Invocation
from toolkit.sandbox.bubblewrap import BubblewrapSandbox
from toolkit.sandbox.made_code import made_code_limits
from toolkit.sandbox.opening import open_sandbox
from toolkit.sources import builtin_modules

ROUNDS = 100
SAMPLES = 20
AT_REST = 4
"""Processes below a worker between calls: bwrap's own, the server, and a keeper and a call that wait."""
SETTLE_SECONDS = 2.0
NOT_MET = "NOT MET"
MADE = "def least_common_multiple(first, second):\n    import math\n    return math.lcm(first, second)\n"
CALL = Invocation("toolkit.builtin.number_theory", "least_common_multiple", {"first": 4, "second": 6})


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--leak-calls", type=int, default=20_000)
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    report: dict[str, float | str] = {}
    with (
        open_sandbox(SandboxConfig(), builtin_modules()) as sandbox,
        open_sandbox(made_code_limits(SandboxConfig()), name="model-made", strict=True) as strict,
    ):
        for part in (
            lambda: _latency(sandbox, strict),
            _throughput,
            lambda: _leaks(sandbox, chosen.leak_calls),
            lambda: _expected(report),
        ):
            found = part()
            report.update(found)
            if not chosen.json:
                for name, value in found.items():
                    print(f"{name:46} {value}", flush=True)
    if chosen.json:
        print(json.dumps(report, indent=2))
    if NOT_MET in report.values():
        sys.exit(1)


def _latency(sandbox: BubblewrapSandbox, strict: BubblewrapSandbox) -> dict[str, float | str]:
    """Medians in ms of a warm call (also of code that a model wrote), of ``python3 -c pass`` in a fresh bwrap with the
    same binds, and of it alone.

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
    cases["warm call"] = lambda: sandbox.run(CALL)
    cases["warm call, model-made code"] = lambda: strict.run(Invocation.of_source(MADE, CALL.function, CALL.arguments))
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
        sandbox.run(CALL)
        end = time.monotonic() + seconds

        def work(index: int) -> None:
            while time.monotonic() < end:
                sandbox.run(CALL)
                counts[index] += 1

        threads = [threading.Thread(target=work, args=(index,)) for index in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return sum(counts) / seconds


def _leaks(sandbox: BubblewrapSandbox, calls: int) -> dict[str, float | str]:
    """Memory and descriptors of the host and of the worker's server, and the processes of the worker, before ``calls``
    calls, and the most that was seen at ``SAMPLES`` moments from the first twentieth of them to the last. A worker is
    replaced every 5,000 calls."""
    for _ in range(200):
        sandbox.run(CALL)
    before = _resources(sandbox)
    started = time.monotonic()
    seen: list[dict[str, int]] = []
    for number in range(1, calls + 1):
        if not sandbox.run(CALL).ok:
            sys.exit("a call failed")
        if number % max(1, calls // SAMPLES) == 0:
            seen.append(_resources(sandbox))
    seconds = time.monotonic() - started
    report: dict[str, float | str] = {f"{calls} calls, seconds": round(seconds, 1)}
    for name in before:
        report[f"{name}, before"] = before[name]
        report[f"{name}, first and last sample"] = f"{seen[0][name]} -> {seen[-1][name]}"
        report[f"{name}, most"] = max(each[name] for each in seen)
    return report


def _expected(report: dict[str, float | str]) -> dict[str, float | str]:
    """Whether the figures are what the sandbox is meant to reach."""

    def figure(name: str) -> float:
        return float(report[name])

    def flat(name: str, share: float = 1.0) -> bool:
        return figure(f"{name}, most") <= share * figure(f"{name}, before")

    cores = len(os.sched_getaffinity(0))
    least = max(1, 0.75 * cores)
    met = {
        "8 times below bwrap + python": figure("bwrap + python / warm call") >= 8,
        "below python": figure("python / warm call") > 1,
        f"{cores} cores make {least:g} times one": figure(f"throughput on {cores} cores / 1 core") >= least,
        "host memory within 5 %": flat("host memory KiB", 1.05),
        "worker memory within 5 %": flat("worker memory KiB", 1.05),
        "no descriptor more": flat("host descriptors"),
        "no descriptor more in the worker": flat("worker descriptors"),
        "no process more in the worker": flat("worker processes"),
    }
    return {f"expected: {name}": "met" if holds else NOT_MET for name, holds in met.items()}


def _resources(sandbox: BubblewrapSandbox) -> dict[str, int]:
    if not sandbox._idle:  # it was just due to be replaced
        sandbox.run(CALL)
    worker = sandbox._idle[-1]._process.pid
    processes, descriptors = _at_rest(worker)
    return {
        "host memory KiB": _resident_kib(os.getpid()),
        "host descriptors": _open_descriptors(os.getpid()),
        "worker memory KiB": _resident_kib(_server(worker)),
        "worker descriptors": descriptors,
        "worker processes": processes,
    }


def _at_rest(worker: int) -> tuple[int, int]:
    """The fewest processes below ``worker`` and descriptors of its server that are seen until it has come to rest:
    after a call it makes ready for the next one, and the last one's namespaces are taken down."""
    processes, descriptors = [len(_descendants(worker))], [_open_descriptors(_server(worker))]
    end = time.monotonic() + SETTLE_SECONDS
    while (min(processes) > AT_REST or len(processes) < 3) and time.monotonic() < end:
        time.sleep(0.02)
        processes.append(len(_descendants(worker)))
        descriptors.append(_open_descriptors(_server(worker)))
    return min(processes), min(descriptors)


def _server(worker: int) -> int:
    """The first process below ``worker`` that is not bwrap."""
    for pid in _descendants(worker):
        if Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() != "bwrap":
            return pid
    raise SystemExit("the worker has no server")


def _open_descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - a count of names


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
