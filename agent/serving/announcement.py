"""The text of data/serving.json, where the process that wrote it still runs. Imports nothing of pydantic."""

import json
from pathlib import Path
from typing import Any

from agent.storage.process_start import start_time

FILE = "serving.json"


def read(data_folder: Path) -> dict[str, Any] | None:
    """Return what the server that is running now says of itself; None if there is none, or the file is damaged."""
    try:
        state = json.loads((data_folder / FILE).read_bytes())
        pid, started = int(state["pid"]), state.get("started")
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    start = start_time(pid)
    return None if start is None or (started and start != started) else state
