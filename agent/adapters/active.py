"""The pointer file data/active_adapter.json: which adapter serves under the name ``agent``.

Promotion and rollback are one ``write``; a reader sees the old pointer or the new one, never a part.
"""

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from agent.errors import AdapterError
from agent.turn.messages import BASE
from toolkit import durable_file
from toolkit.frozen import Frozen

FILE = "active_adapter.json"

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"


class Change(Frozen):
    """Origin of the pointer's present value: what a ledger that missed it needs to catch up.

    ``serial`` counts the changes; ``cycle`` is the cycle that promoted, 0 where none did. ``withdraws``: the adapter in
    ``previous`` was taken out of service.
    """

    serial: int
    previous: str
    reason: str
    by: Literal["person", "cycle", "monitor", "start"]
    cycle: int = 0
    withdraws: bool = False


class Canary(Frozen):
    """An adapter on trial: it answers a ``share`` of the sessions, always the same ones."""

    name: str = Field(pattern=NAME_PATTERN)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    share: float = Field(gt=0, le=0.5)

    def takes(self, session: str, owner: str) -> bool:
        """Return whether it answers this session of this API key ("" without one)."""
        drawn = hashlib.sha256(f"{self.sha256}\0{owner}\0{session}".encode("utf-8", "replace")).digest()
        return int.from_bytes(drawn[:8]) < self.share * 2**64


class ActiveAdapter(Frozen):
    """``name`` is a folder in data/adapters, or ``base``; ``sha256`` is that of its manifest.json ("" for base).

    ``canary``: what answers a share of the sessions in its place, if anything does.
    """

    name: str = Field(default=BASE, pattern=NAME_PATTERN)
    sha256: str = Field(default="", pattern="^([0-9a-f]{64})?$")
    change: Change | None = None
    canary: Canary | None = None


def path(data_folder: Path) -> Path:
    return data_folder / FILE


def read(data_folder: Path) -> ActiveAdapter:
    """Read the active adapter; ``base`` where nothing was ever promoted. Raises AdapterError on a damaged file."""
    file = path(data_folder)
    try:
        return ActiveAdapter.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return ActiveAdapter()
    except (ValidationError, OSError) as error:
        problem = error.strerror if isinstance(error, OSError) else "is damaged"
        raise AdapterError(f"{file}: {problem}; write it anew with: evolver rollback base") from error


def write(data_folder: Path, adapter: ActiveAdapter) -> None:
    """Point to ``adapter``; on disk when it returns. When it raises OSError, the file holds one of the two pointers."""
    durable_file.replace(path(data_folder), adapter.model_dump_json().encode())
