"""Files with one value per line: how a stage that takes long writes what it has, and finds it again."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar, overload

from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)
K = TypeVar("K")


def append_lines(path: Path, values: Iterable[BaseModel]) -> None:
    """Append ``values``; on disk when it returns."""
    text = "".join(value.model_dump_json() + "\n" for value in values)
    if not text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if file.tell() and not _ends_whole(file):
            file.write(b"\n")
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


def write_lines(path: Path, values: Iterable[BaseModel]) -> None:
    """As ``append_lines``, in place of what is there; no file where there are none."""
    path.unlink(missing_ok=True)
    append_lines(path, values)


@overload
def read_lines(path: Path, model: type[M]) -> list[M]: ...
@overload
def read_lines(path: Path, model: type[M], *, key: Callable[[M], K]) -> list[K]: ...
def read_lines(path: Path, model: type[M], *, key: Callable[[M], Any] = lambda value: value) -> list[Any]:
    """The values in ``path``, [] where it does not exist. A line cut off by a crash is left out."""
    if not path.exists():
        return []
    found = []
    for line in path.read_bytes().splitlines():
        try:
            found.append(key(model.model_validate_json(line)))
        except ValidationError:
            continue
    return found


def _ends_whole(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"
