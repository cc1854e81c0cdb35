"""Connection to a Ray cluster, and the check that a process on one of its nodes makes first."""

import ctypes
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from agent.cluster.installation import Installation, installed
from toolkit.errors import PrerequisiteError, UserError


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Connect this process to the Ray cluster at ``address``, with a token, unless it is connected. Raises
    PrerequisiteError where Ray is not installed, and UserError where no cluster lets it in."""
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        from ray.exceptions import RayError
    except ImportError:
        raise PrerequisiteError(
            "[cluster] needs the package ray; install it: pip install 'apprentice-agent[cluster]'"
        ) from None
    if ray.is_initialized():
        yield
        return
    on_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        words = " ".join(str(error).split())[:300]
        raise UserError(
            f"no Ray cluster lets this machine in at {address} ({words}); start Ray here with: "
            'ray start --head, or do without: [cluster] address = ""'
        ) from None
    finally:
        if on_main_thread:  # Ray has put its own there
            signal.signal(signal.SIGTERM, handler)
    _see_children_end()
    try:
        yield
    finally:
        ray.shutdown()


def refusal(driver: Installation) -> str:
    """Return the reason why this process on a node must not work for the ``driver``; "" if it may.

    From here on the process learns how the processes that it starts end.
    """
    _see_children_end()
    if os.environ.get("RAY_AUTH_MODE") != "token":
        return "it runs what anybody sends it; start Ray there with RAY_AUTH_MODE=token"
    if different := installed().difference(driver):
        return f"it has {different}; install there what is installed here"
    return ""


def _see_children_end() -> None:
    """Take back that Ray's core ignores SIGCHLD where RAY_kill_child_processes_on_worker_exit_with_raylet_subreaper is
    set: the kernel then forgets each exit status, and a failed process looks like one that succeeded. Ray did it behind
    Python's back; ``signal.signal`` would only serve the main thread."""
    ctypes.CDLL(None).signal(signal.SIGCHLD, ctypes.c_void_p(None))


def lines_of(error: BaseException) -> list[str]:
    """Return the lines of an error's message, at least one: its repr where the message is empty."""
    return (str(error).strip() or repr(error)).splitlines()
