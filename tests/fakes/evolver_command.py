"""The evolver command in a test: how it is run, and what refuses a person."""

import os
from collections.abc import Callable
from pathlib import Path

from agent.serving import serving_state
from agent.serving.serving_state import ServingState

FIRST, SECOND = "adapter-0001", "adapter-0002"
Evolver = Callable[..., tuple[int, str, str]]


def refused(shown: tuple[int, str, str], *words: str) -> None:
    """Exit code 2, nothing on stdout, one line that says it."""
    code, out, err = shown
    assert (code, out) == (2, ""), err
    (line,) = err.splitlines()
    assert line.startswith("evolver: ")
    for word in words:
        assert word in line


def with_server(data: Path) -> None:
    """Announce a server that nobody reaches."""
    nowhere = "http://127.0.0.1:1"
    serving_state.write(
        data, ServingState(pid=os.getpid(), gateway_url=nowhere, vllm_url=nowhere, vllm_pid=1, vllm_key="k")
    )
