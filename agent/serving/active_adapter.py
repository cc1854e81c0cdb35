"""The pointer file data/active_adapter.json: which adapter serves under the name ``agent``.

Promotion and rollback are one ``write``; a reader sees the old pointer or the new one, never a part.
"""

import os
import tempfile
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.errors import AdapterError
from agent.messages import BASE

FILE = "active_adapter.json"

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"


class ActiveAdapter(BaseModel):
    """``name`` is a folder in data/adapters, or ``base``; ``sha256`` is that of its manifest.json ("" for base)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default=BASE, pattern=NAME_PATTERN)
    sha256: str = Field(default="", pattern="^([0-9a-f]{64})?$")


def path(data_folder: Path) -> Path:
    return data_folder / FILE


def read(data_folder: Path) -> ActiveAdapter:
    """What serves; ``base`` where nothing was ever promoted. Raises AdapterError on a damaged file."""
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
    data_folder.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=data_folder, prefix=f".{FILE}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(adapter.model_dump_json().encode())
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path(data_folder))
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(data_folder, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
