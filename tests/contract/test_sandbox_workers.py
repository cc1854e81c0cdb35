"""Workers that die, hang, speak nonsense or have served long enough: each costs its own call at most."""

import contextlib
import json
import os
import signal
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adversarial.conftest import descendants, settle
from toolkit.config import SandboxConfig
from toolkit.errors import SandboxUnavailable
from toolkit.sandbox import ExecResult, Invocation, Status, bubblewrap, worker_process
from toolkit.sandbox.bubblewrap import BubblewrapSandbox
from toolkit.sandbox.opening import open_sandbox
from toolkit.sandbox.worker_process import NamespacesForbidden, WorkerHung, WorkerLost, WorkerProcess

READY = b'{"ready": true}'
ENDED = {
    "wait_status": 0, "killed": "", "claim": "e30=", "stdout": "", "stderr": "", "files": None, "cpu_seconds": 0.1,
}  # fmt: skip


@pytest.fixture
def sandbox() -> Iterator[BubblewrapSandbox]:
    with open_sandbox(SandboxConfig(workers=1), check=False) as opened:
        yield opened


def _one(sandbox: BubblewrapSandbox, *, seconds: float = 60.0, **arguments: str) -> ExecResult:
    return sandbox.run(Invocation.of_source("def f(**given): return 1", "f", arguments, timeout_seconds=seconds))


def _worker(sandbox: BubblewrapSandbox) -> int:
    (worker,) = sandbox._idle
    return worker._process.pid


def _stop_all(pid: int) -> None:
    """Stop every descendant, those too that are forked for the next call while the first are being stopped."""
    stopped: set[int] = set()
    while born := set(descendants(pid)) - stopped:
        for child in born:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGSTOP)
        stopped |= born


def test_a_worker_that_dies_costs_its_own_call_only(sandbox: BubblewrapSandbox) -> None:
    os.kill(_worker(sandbox), signal.SIGKILL)
    statuses = [_one(sandbox).status for _ in range(3)]  # the kernel may kill it during the first call or the second
    assert statuses.count(Status.OK) >= 2
    assert set(statuses) <= {Status.OK, Status.LOST}


@pytest.mark.parametrize("size", [0, 200_000], ids=["no_answer", "no_reading"])
def test_a_worker_that_hangs_costs_its_own_call_only(sandbox: BubblewrapSandbox, size: int) -> None:
    """Also where the request is more than its pipe holds, so that the host could wait for ever to write it."""
    _stop_all(_worker(sandbox))
    result = _one(sandbox, seconds=0.1, text="x" * size)
    assert (result.status, result.message) == (Status.LOST, "the worker hung; try again")
    assert _one(sandbox, text="x" * size).value == 1


def test_a_worker_is_replaced_after_so_many_calls(monkeypatch: pytest.MonkeyPatch, sandbox: BubblewrapSandbox) -> None:
    monkeypatch.setattr(bubblewrap, "_CALLS_PER_WORKER", sandbox._idle[0].calls + 2)
    first = _worker(sandbox)
    assert _one(sandbox).value == 1
    assert _worker(sandbox) == first
    old = [first, *descendants(first)]
    assert _one(sandbox).value == 1
    assert sandbox._idle == []
    assert _one(sandbox).value == 1
    assert _worker(sandbox) not in old
    assert settle(lambda: not any(Path(f"/proc/{pid}").exists() for pid in old))


def _says(script: str) -> WorkerProcess:
    """A worker that says it is ready, takes four bytes of a request, and then does ``script``."""
    hello = f"printf '\\000\\000\\000\\{len(READY):03o}{READY.decode()}'"
    return WorkerProcess(["/bin/sh", "-c", f"{hello}; head -c 4 >/dev/null; {script}; exec sleep 1000"], 1 << 20, None)


@pytest.mark.parametrize("begun", ["\\000\\000", "\\000\\000\\000\\005", "\\000\\000\\000\\005abc"])
def test_a_reply_that_is_begun_and_not_ended_is_not_waited_for(begun: str) -> None:
    worker = _says(f"printf '{begun}'")
    try:
        with pytest.raises(WorkerHung):
            worker.send(b"{}", 0.3)
    finally:
        worker.kill()


@pytest.mark.parametrize("letters", ["(yes x | head -c 200000)", "yes x"])
def test_a_reply_that_comes_without_end_is_cut_off(letters: str) -> None:
    """The first four letters are its length: two gigabytes."""
    worker = _says(letters)
    try:
        with pytest.raises(WorkerLost, match="the worker sent a frame of"):
            worker.send(b"{}", 60)
    finally:
        worker.kill()


def test_a_start_that_fails_slowly_is_not_taken_for_a_slow_one() -> None:
    """Its output ends before its process does."""
    failing = "echo 'bwrap: setting up uid map: Permission denied' >&2; exec sleep 1000 >&-"
    with pytest.raises(NamespacesForbidden, match="setting up uid map"):
        WorkerProcess(["/bin/sh", "-c", failing], 1024, None)


def _odd_module(folder: Path, written: bytes, then: str = "") -> None:
    """A users' module that writes to the descriptor on which its worker answers the host."""
    (folder / "odd_tools.py").write_text(f"import os, time\nos.write(11, {written!r})\n{then}\n")


def _frame(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{}", b"[]", b"null", b"[" * 50_000, b'{"a":' * 10_000, b'{"ready": false}', b'{"failed": "odd_tools"}',
        b'{"failed": [], "message": {}}', b"\xff", json.dumps(ENDED).encode(), b'{"ready": true, "ready": true}',
    ],
)  # fmt: skip
def test_a_module_that_speaks_for_its_worker_is_not_believed(tmp_path: Path, content: bytes) -> None:
    _odd_module(tmp_path, _frame(content))
    with pytest.raises(SandboxUnavailable, match="bubblewrap does not start a worker: the worker sent"):
        open_sandbox(SandboxConfig(), ["odd_tools"], check=False, folder=tmp_path)


@pytest.mark.parametrize(
    "second",
    [
        b"", _frame(b"{}"), _frame(json.dumps(ENDED).encode()), _frame(b'{"unfit": 1}'), _frame(b"[" * 50_000),
        b"\x00\x00", b"\xff\xff\xff\xff",
    ],
)  # fmt: skip
@pytest.mark.parametrize("check", [False, True])
def test_nor_is_a_reply_before_its_request(tmp_path: Path, second: bytes, check: bool) -> None:
    """It says itself that the worker is ready, so that every later frame would answer another call."""
    _odd_module(tmp_path, _frame(READY) + second)
    with pytest.raises(
        SandboxUnavailable,
        match=r"was lost twice, a harmless one after it too: the worker (sent|had ended, or spoke unasked)",
    ):
        open_sandbox(SandboxConfig(), ["odd_tools"], check=check, folder=tmp_path)


def test_a_first_word_that_is_cut_off_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _odd_module(tmp_path, b"\x00\x00", "time.sleep(1000)")
    monkeypatch.setattr(worker_process, "_START_SECONDS", 1.0)
    with pytest.raises(SandboxUnavailable, match="is not ready within"):
        open_sandbox(SandboxConfig(), ["odd_tools"], check=False, folder=tmp_path)
