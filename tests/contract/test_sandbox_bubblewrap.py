"""What only the real sandbox does: deadlines, limits, its own workers, failing closed. Attacks: tests/adversarial."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adversarial.conftest import descendants, settle
from toolkit.config import SandboxConfig
from toolkit.errors import ConfigError, PrerequisiteError, SandboxUnavailable
from toolkit.sandbox import Invocation, Status, cgroup, self_check, worker_process
from toolkit.sandbox.bubblewrap import BubblewrapSandbox
from toolkit.sandbox.cgroup import Group, find_groups
from toolkit.sandbox.opening import open_sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[BubblewrapSandbox]:
    with open_sandbox(SandboxConfig(timeout_seconds=60, memory_mib=64, output_kib=4), check=False) as opened:
        yield opened


def _worker_pids(sandbox: BubblewrapSandbox) -> list[int]:
    return [worker._process.pid for worker in sandbox._idle]


def test_a_call_that_does_not_end_is_killed_at_its_deadline(sandbox: BubblewrapSandbox) -> None:
    before = _worker_pids(sandbox)
    result = sandbox.run(Invocation.of_source("def spin():\n    while True: pass", "spin", {}, timeout_seconds=0.2))
    assert result.status is Status.TIMEOUT
    assert result.message == "no result within 0.2 s"
    assert 200 <= result.duration_ms < 60_000
    assert _worker_pids(sandbox) == before, "the worker survives the kill of its call"


def test_what_is_printed_is_kept_apart_and_cut(sandbox: BubblewrapSandbox) -> None:
    source = "import sys\ndef talk():\n    print('x' * 100_000)\n    print('oh', file=sys.stderr)\n    return 1"
    result = sandbox.run(Invocation.of_source(source, "talk", {}))
    assert (result.value, len(result.stdout), result.stderr) == (1, 4096, "oh\n")


def test_too_large_a_result_is_refused(sandbox: BubblewrapSandbox) -> None:
    result = sandbox.run(Invocation.of_source("def big(): return 'x' * 5000", "big", {}))
    assert result.status is Status.BAD_RESULT
    assert "larger than 4 KiB" in result.message


def test_a_failed_call_leaves_the_workspace_as_it_was(sandbox: BubblewrapSandbox, tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("before")
    source = (
        "def spoil():\n    open('kept.txt', 'w').write('after')\n    open('new.txt', 'w').close()\n    raise ValueError"
    )
    assert sandbox.run(Invocation.of_source(source, "spoil", {}, workspace=tmp_path)).status is Status.TOOL_FAILED
    assert (tmp_path / "kept.txt").read_text() == "before"
    assert not (tmp_path / "new.txt").exists()


def test_a_module_that_cannot_be_imported_is_the_users_to_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_tools.py").write_text("import nothing_of_that_name")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="module broken_tools cannot be imported: ModuleNotFoundError"):
        open_sandbox(SandboxConfig(), ["broken_tools"], check=False)


def test_a_module_that_does_not_finish_importing_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_tools.py").write_text("import time\ntime.sleep(1000)")
    monkeypatch.setattr(worker_process, "_START_SECONDS", 1.0)
    with pytest.raises(SandboxUnavailable, match="see whether a tool module is slow to import"):
        open_sandbox(SandboxConfig(), ["slow_tools"], check=False, folder=tmp_path)


def test_a_module_beside_the_config_is_seen_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_tools.py").write_text("def double(value): return 2 * value")
    monkeypatch.chdir(tmp_path)
    with open_sandbox(SandboxConfig(), ["own_tools"], check=False) as own:
        assert own.run(Invocation("own_tools", "double", {"value": 21})).value == 42


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


def test_where_control_groups_are_delegated_each_worker_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a folder that looks like one: what the kernel makes of the limits is its own affair."""
    for name, content in (("controllers", "memory pids"), ("subtree_control", ""), ("procs", "")):
        (tmp_path / f"cgroup.{name}").write_text(content)
    (tmp_path / "own").write_text("0::/\n")
    monkeypatch.setattr(cgroup, "find_groups", lambda: find_groups(tmp_path, tmp_path / "own"))
    config = SandboxConfig(workers=1, memory_mib=64, workspace_mib=4)
    with open_sandbox(config, check=False) as own:
        (group,) = tmp_path.glob("apprentice-*")
        assert (group / "cgroup.procs").read_text() == "0\n", "the worker joined it by itself"
        assert int((group / "memory.max").read_text()) == (1024 + 2 * 64 + 6 * 4) << 20
        assert own.groups.note.endswith(f"limited, in {tmp_path}")


def test_a_real_control_group_takes_all_of_a_worker_and_goes_with_it() -> None:
    """Joining, killing, removing, on the kernel's own file system; limits need controllers that may be elsewhere."""
    rows = [line.split() for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
    mounts = [Path(row[4]) for row in rows if row[row.index("-") + 1] == "cgroup2"]
    mount = next((path for path in mounts if os.access(path / "cgroup.procs", os.W_OK)), None)
    if mount is None:
        pytest.skip("there is no cgroup v2 that may be written")
    group = Group(mount / f"apprentice-test-{os.getpid()}")
    group.path.mkdir()
    try:
        command = group.around(["sh", "-c", "echo ready; sleep 1000 & wait"])
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            assert settle(lambda: len((group.path / "cgroup.procs").read_text().split()) == 2)
            assert str(process.pid) in (group.path / "cgroup.procs").read_text().split()
            group.remove()
            assert process.wait(60) != 0
    finally:
        group.remove()
    assert not group.path.exists()


def test_a_workspace_that_does_not_fit_is_said_at_once(sandbox: BubblewrapSandbox, tmp_path: Path) -> None:
    for number in range(700):
        folder = tmp_path / str(number) / "a" / "b"
        folder.mkdir(parents=True)
        (folder / "c").write_bytes(b"x")
    result = sandbox.run(Invocation.of_source("def f(): return 1", "f", {}, workspace=tmp_path))
    assert (result.status, result.message) == (
        Status.RESOURCE_LIMIT,
        "the workspace does not fit into workspace_mib: No space left on device; remove files",
    )


def test_too_large_a_source_is_refused(sandbox: BubblewrapSandbox) -> None:
    result = sandbox.run(Invocation.of_source("#" * (2 << 20), "f", {}))
    assert (result.status, result.message) == (
        Status.TOOL_FAILED,
        "the source is larger than 1024 KiB; pass less",
    )


def test_when_memory_is_short_the_sandbox_goes_first(sandbox: BubblewrapSandbox) -> None:
    sandbox.warm()
    pids: list[int] = []
    while len(pids) < 2:  # the test's own time limit ends this
        pids = [pid for pid in descendants(_worker_pids(sandbox)[0]) if _program(pid).startswith("python")]
    scores = [int(Path(f"/proc/{pid}/oom_score_adj").read_text(encoding="ascii")) for pid in pids]
    assert set(scores) == {1000}


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return ""


def test_a_closed_sandbox_says_so_and_leaves_no_process() -> None:
    own = open_sandbox(SandboxConfig(), check=False)
    pids = _worker_pids(own)
    own.close()
    own.close()
    with pytest.raises(SandboxUnavailable, match="is closed"):
        own.run(Invocation("operator", "index", {}))
    assert pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
