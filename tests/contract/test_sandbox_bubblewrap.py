"""What only the real sandbox does: deadlines, limits, its own workers, failing closed. Attacks: tests/adversarial."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit.config import SandboxConfig
from toolkit.errors import ConfigError, PrerequisiteError, SandboxUnavailable
from toolkit.sandbox import Status, open_sandbox, self_check
from toolkit.sandbox.bubblewrap import BubblewrapSandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[BubblewrapSandbox]:
    with open_sandbox(SandboxConfig(timeout_seconds=3, memory_mib=64, output_kib=4), check=False) as opened:
        yield opened


def _worker_pids(sandbox: BubblewrapSandbox) -> list[int]:
    return [worker._process.pid for worker in sandbox._idle]


def test_a_call_that_does_not_end_is_killed_at_its_deadline(sandbox: BubblewrapSandbox) -> None:
    before = _worker_pids(sandbox)
    result = sandbox.run_source("def spin():\n    while True: pass", "spin", {}, timeout_seconds=0.2)
    assert result.status is Status.TIMEOUT
    assert result.message == "no result within 0.2 s"
    assert 200 <= result.duration_ms < 1500
    assert _worker_pids(sandbox) == before, "the worker survives the kill of its call"


def test_a_worker_that_dies_costs_its_own_call_only(sandbox: BubblewrapSandbox) -> None:
    sandbox.warm()
    for pid in _worker_pids(sandbox):
        os.kill(pid, signal.SIGKILL)
    results = [sandbox.run("operator", "index", {}).status for _ in range(3)]
    assert results.count(Status.CRASHED) <= 1
    assert results[-1] is Status.TOOL_FAILED


def _descendants(pid: int) -> list[int]:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [below for child in children for below in _descendants(child)]


def _stop_all(pid: int) -> None:
    """Stop every descendant, those too that are forked for the next call while the first are being stopped."""
    stopped: set[int] = set()
    while born := set(_descendants(pid)) - stopped:
        for child in born:
            os.kill(child, signal.SIGSTOP)
        stopped |= born


def test_a_wedged_worker_is_replaced_after_the_deadline() -> None:
    with open_sandbox(SandboxConfig(workers=1), check=False) as own:
        assert own.run_source("def f(): return 1", "f", {}).value == 1
        _stop_all(_worker_pids(own)[0])
        assert own.run_source("def f(): return 1", "f", {}, timeout_seconds=0.1).status is Status.TIMEOUT
        assert own.run_source("def f(): return 1", "f", {}).value == 1


def test_what_is_printed_is_kept_apart_and_cut(sandbox: BubblewrapSandbox) -> None:
    source = "import sys\ndef talk():\n    print('x' * 100_000)\n    print('oh', file=sys.stderr)\n    return 1"
    result = sandbox.run_source(source, "talk", {})
    assert (result.value, len(result.stdout), result.stderr) == (1, 4096, "oh\n")


def test_too_large_a_result_is_refused(sandbox: BubblewrapSandbox) -> None:
    result = sandbox.run_source("def big(): return 'x' * 5000", "big", {})
    assert result.status is Status.BAD_RESULT
    assert "larger than 4 KiB" in result.message


def test_a_failed_call_leaves_the_workspace_as_it_was(sandbox: BubblewrapSandbox, tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("before")
    source = (
        "def spoil():\n    open('kept.txt', 'w').write('after')\n    open('new.txt', 'w').close()\n    raise ValueError"
    )
    assert sandbox.run_source(source, "spoil", {}, workspace=tmp_path).status is Status.TOOL_FAILED
    assert (tmp_path / "kept.txt").read_text() == "before"
    assert not (tmp_path / "new.txt").exists()


def test_a_module_that_cannot_be_imported_is_the_users_to_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_tools.py").write_text("import nothing_of_that_name")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="module broken_tools cannot be imported: ModuleNotFoundError"):
        open_sandbox(SandboxConfig(), ["broken_tools"], check=False)


def test_a_module_beside_the_config_is_seen_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_tools.py").write_text("def double(value): return 2 * value")
    monkeypatch.chdir(tmp_path)
    with open_sandbox(SandboxConfig(), ["own_tools"], check=False) as own:
        assert own.run("own_tools", "double", {"value": 21}).value == 42


def test_without_bubblewrap_the_fix_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(PrerequisiteError, match="apt-get install bubblewrap"):
        open_sandbox(SandboxConfig())


def test_a_sandbox_that_lets_one_attempt_through_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    harmless = self_check._Attempt("add", "def attempt():\n    return 1 + 1", lambda result: result.value != 2)
    monkeypatch.setattr(self_check, "_ATTEMPTS", (harmless,))
    with pytest.raises(SandboxUnavailable, match=r"does not hold: add \(returned 2\)"):
        open_sandbox(SandboxConfig())


def test_every_attempt_of_the_self_check_holds(sandbox: BubblewrapSandbox) -> None:
    findings = self_check.attempt_all(sandbox)
    assert len(findings) >= 15
    assert [finding for finding in findings if not finding.held] == []


def test_a_closed_sandbox_says_so_and_leaves_no_process() -> None:
    own = open_sandbox(SandboxConfig(), check=False)
    pids = _worker_pids(own)
    own.close()
    own.close()
    with pytest.raises(SandboxUnavailable, match="is closed"):
        own.run("operator", "index", {})
    assert pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
