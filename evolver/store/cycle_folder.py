"""A cycle's folder and its markers: a stage's value in a file of its own, there only when the stage is done. And what
stages write there for people to read."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from evolver.store.stored_value import parse
from toolkit import durable_file

V = TypeVar("V", bound=BaseModel)
_TENANT = "tenant"
UNFIT_VARIANTS, COMPOSED = "varied_dropped.jsonl", "composed.jsonl"


def cycle_folder(data_folder: Path, number: int) -> Path:
    """Return the folder in which cycle ``number`` keeps its markers and files."""
    return data_folder / "cycles" / f"{number:04d}"


def cycle_folders(data_folder: Path, *, before: int | None = None, tenant: str | None = None) -> list[Path]:
    """Return the folders of all cycles, the first first; those of cycles ``before`` that number, and of ``tenant``
    ("": of none; None: of all)."""
    folders = sorted(data_folder.glob("cycles/[0-9]*"))
    earlier = folders if before is None else [folder for folder in folders if int(folder.name) < before]
    return earlier if tenant is None else [folder for folder in earlier if tenant_of(folder) == tenant]


def tenant_of(folder: Path) -> str:
    """Return the tenant whose cycle a folder is of; "" where it is everybody's."""
    try:
        return (folder / _TENANT).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def mark_tenant(folder: Path, tenant: str) -> None:
    """Say in a cycle's folder whose it is, before anything else is there."""
    if tenant and tenant_of(folder) != tenant:
        durable_file.replace(folder / _TENANT, tenant.encode())


def read_marker(path: Path, model: type[V]) -> V | None:
    """Return the value of a marker; None where there is none, and where it is damaged or from another version: the
    stage is done again."""
    try:
        return parse(model, path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def write_marker(path: Path, value: BaseModel) -> None:
    """Publish ``value`` as ``path``: after a crash it is whole or absent."""
    durable_file.replace(path, value.model_dump_json().encode())
