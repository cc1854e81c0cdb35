"""The benchmark of the sandbox judges what it reports, and fails when it expects more."""

import sys

import pytest

from benchmarks import sandbox as bench
from toolkit.config import SandboxConfig
from toolkit.sandbox.opening import open_sandbox
from toolkit.sources import builtin_modules

COUNTED = "host memory KiB", "host descriptors", "worker memory KiB", "worker descriptors", "worker processes"


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> dict[str, float | str]:
    monkeypatch.setattr(bench.os, "sched_getaffinity", lambda _: {0, 1})
    figures = {f"{name}, {when}": 100.0 for name in COUNTED for when in ("before", "most")}
    return {
        **figures,
        "bwrap + python / warm call": 9.0,
        "python / warm call": 2.0,
        "throughput on 2 cores / 1 core": 1.8,
    }


def test_what_grows_is_not_met(report: dict[str, float | str]) -> None:
    assert set(bench._expected(report).values()) == {"met"}
    for name in COUNTED:
        grown = bench._expected({**report, f"{name}, most": 106.0})
        assert list(grown.values()).count(bench.NOT_MET) == 1, name


def test_one_expectation_not_met_is_a_failed_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["sandbox.py", "--leak-calls", "1"])
    for part in ("_latency", "_throughput", "_leaks"):
        monkeypatch.setattr(bench, part, lambda *_: {})
    monkeypatch.setattr(bench, "_expected", lambda _: {"expected: speed": "met"})
    bench.main()
    monkeypatch.setattr(bench, "_expected", lambda _: {"expected: speed": bench.NOT_MET})
    with pytest.raises(SystemExit, match="1"):
        bench.main()


def test_the_workers_server_is_counted() -> None:
    with open_sandbox(SandboxConfig(workers=1), builtin_modules(), check=False) as sandbox:
        figures = bench._leaks(sandbox, 20)
    assert figures["worker processes, most"] == bench.AT_REST
    assert 0 < figures["worker descriptors, most"] < 20
