"""data/serving.json: how the other commands find the server that ``agent serve`` runs."""

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from agent.serving import durable_file

FILE = "serving.json"


class ServingState(BaseModel):
    """A running server. The file holds keys, so only its owner may read it (mode 0600).

    ``vllm_url`` and ``vllm_key``: where adapters are loaded, on all servers at once; it passes on what else vLLM knows.
    ``gateway_key`` opens the gateway to apprentice's own commands, also where keys are needed.

    ``started`` tells the process ``pid`` from a later one with the same number; "" where that cannot be told.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    pid: int
    gateway_url: str
    vllm_url: str
    vllm_pid: int
    vllm_key: str
    gateway_key: str = ""
    started: str = ""


def path(data_folder: Path) -> Path:
    return data_folder / FILE


def read(data_folder: Path) -> ServingState | None:
    """The server that is running now; None if there is none, or its file is from a server that is gone."""
    try:
        state = ServingState.model_validate_json(path(data_folder).read_bytes())
    except (OSError, ValidationError):
        return None
    start = _start_time(state.pid)
    if start is None or (state.started and start != state.started):
        return None
    return state


def write(data_folder: Path, state: ServingState) -> None:
    """Announce ``state``; readers see it whole or not at all."""
    state = state.model_copy(update={"started": _start_time(state.pid) or ""})
    durable_file.replace(path(data_folder), state.model_dump_json().encode())


def remove(data_folder: Path, pid: int) -> None:
    """Take back the announcement of ``pid``; that of another process stays."""
    state = read(data_folder)
    if state is None or state.pid == pid:
        path(data_folder).unlink(missing_ok=True)


def _start_time(pid: int) -> str | None:
    """When the process started, in clock ticks since boot ("" where /proc does not say); None if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None if Path("/proc/self/stat").exists() or not _exists(pid) else ""
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
