"""Whatever happens to the parent, nothing of what it started stays: each test kills real processes."""

import os
import select
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.http.address import of_socket
from agent.serving.vllm import process_guard
from tests.fakes import process_tree

PARENT = textwrap.dedent("""
    import os, sys, signal
    from pathlib import Path
    from agent.serving.vllm.process import VllmServer
    argv, url, log = sys.argv[1:-2], sys.argv[-2], Path(sys.argv[-1])
    server = VllmServer.spawn(argv, os.environ, url=url, api_key="k", log=log, timeout_seconds=120)
    print(server._process.pid, server.pid, flush=True)
    if os.environ.get("FORKS"):
        if os.fork() == 0:  # keeps the pipe to the guard open
            os.setsid()
            print(os.getpid(), flush=True)
            signal.pause()
    signal.pause()
""")


class Tree:
    """A parent with a guard, a command and its two children, all alive."""

    def __init__(self, folder: Path, manner: str = "serves", **env: str) -> None:
        self.folder = folder / "pids"
        self.folder.mkdir()
        socket = folder / "vllm.sock"
        command = [sys.executable, process_tree.__file__, str(socket), str(self.folder), manner]
        self.parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, *command, of_socket(socket), str(folder / "log")],
            stdout=subprocess.PIPE,
            env={**os.environ, **env},
            start_new_session=True,
        )
        assert self.parent.stdout is not None
        self.guard, self.command = (int(word) for word in self.parent.stdout.readline().split())
        self.fork = int(self.parent.stdout.readline()) if "FORKS" in env else 0
        pids = [self.guard, *(int(file.name) for file in self.folder.iterdir())]
        assert len(pids) == 4
        self.handles = {os.pidfd_open(pid): pid for pid in pids}

    def survivors(self, seconds: float, *among: int) -> list[int]:
        """Which of guard, command and children, or of ``among`` these, are alive after at most ``seconds``."""
        left = {handle: pid for handle, pid in self.handles.items() if not among or pid in among}
        poll = select.poll()
        for handle in left:
            poll.register(handle, select.POLLIN)
        while left and (ended := poll.poll(seconds * 1000)):
            for handle, _ in ended:
                poll.unregister(handle)
                del left[handle]
        return list(left.values())

    def close(self) -> None:
        self.parent.kill()
        self.parent.wait()
        if self.parent.stdout is not None:
            self.parent.stdout.close()
        for handle, pid in self.handles.items():
            if pid in self.survivors(0):
                os.kill(pid, signal.SIGKILL)
            os.close(handle)
        if self.fork:
            os.kill(self.fork, signal.SIGKILL)


@pytest.fixture
def trees(tmp_path: Path) -> Iterator[list[Tree]]:
    made: list[Tree] = []
    yield made
    for tree in made:
        tree.close()


def test_killing_the_parent_ends_the_whole_tree(tmp_path: Path, trees: list[Tree]) -> None:
    trees.append(tree := Tree(tmp_path))
    tree.parent.kill()
    assert tree.survivors(60) == []


def test_interrupting_the_parent_ends_the_whole_tree(tmp_path: Path, trees: list[Tree]) -> None:
    trees.append(tree := Tree(tmp_path))
    os.killpg(tree.parent.pid, signal.SIGINT)  # as Ctrl-C does
    assert tree.survivors(60) == []


def test_a_fork_of_the_parent_that_keeps_the_pipe_open_changes_nothing(tmp_path: Path, trees: list[Tree]) -> None:
    trees.append(tree := Tree(tmp_path, FORKS="1"))
    tree.parent.kill()
    tree.parent.wait()
    assert tree.survivors(60) == []
    os.kill(tree.fork, 0)  # it was alive all the time


def test_the_end_of_the_command_ends_its_children(tmp_path: Path, trees: list[Tree]) -> None:
    trees.append(tree := Tree(tmp_path))
    os.kill(tree.command, signal.SIGKILL)
    assert tree.survivors(60) == []


def test_terminating_the_guard_ends_the_whole_tree(tmp_path: Path, trees: list[Tree]) -> None:
    trees.append(tree := Tree(tmp_path))
    os.kill(tree.guard, signal.SIGTERM)
    assert tree.survivors(60) == []


def test_killing_the_guard_ends_the_command(tmp_path: Path, trees: list[Tree]) -> None:
    trees.append(tree := Tree(tmp_path))
    os.kill(tree.guard, signal.SIGKILL)
    assert tree.survivors(60, tree.command) == []


def test_a_command_deaf_to_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    folder = tmp_path / "pids"
    folder.mkdir()
    command = [sys.executable, process_tree.__file__, str(tmp_path / "vllm.sock"), str(folder), "deaf"]
    guarding = subprocess.Popen(
        [sys.executable, "-I", process_guard.__file__, str(os.getpid()), "0.1", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with guarding:
        assert guarding.stdout is not None
        assert guarding.stderr is not None
        pid = int(guarding.stdout.readline())
        while b"Using" not in guarding.stderr.readline():
            pass
        assert guarding.stdin is not None
        guarding.stdin.close()
        assert guarding.wait(timeout=60) == 128 + signal.SIGKILL
    for file in folder.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.name), 0)
    assert str(pid) in {file.name for file in folder.iterdir()}


def test_the_exit_status_is_the_commands() -> None:
    command = [sys.executable, "-c", "raise SystemExit(7)"]
    guarding = subprocess.Popen(
        [sys.executable, "-I", process_guard.__file__, str(os.getpid()), "1", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    with guarding:
        assert guarding.wait(timeout=60) == 7
