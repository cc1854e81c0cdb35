"""Files with one value per line: how a stage that takes long writes what it has, and finds it again."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar, overload

from pydantic import BaseModel, ValidationError

from evolver.store.stored_value import parse
from toolkit import durable_file

M = TypeVar("M", bound=BaseModel)
K = TypeVar("K")


def append_lines(path: Path, values: Iterable[BaseModel]) -> None:
    """Append ``values``; on disk when it returns."""
    text = _as_lines(values)
    if not text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    with path.open("a+b") as file:
        if file.tell() and not _ends_whole(file):
            file.write(b"\n")
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        durable_file.flush(path.parent)


def write_lines(path: Path, values: Iterable[BaseModel]) -> None:
    """Write ``values`` in place of what is there, whole or not at all; no file where there are none."""
    if text := _as_lines(values):
        durable_file.replace(path, text)
    else:
        durable_file.remove(path)


@overload
def read_lines(path: Path, model: type[M]) -> list[M]: ...
@overload
def read_lines(path: Path, model: type[M], *, key: Callable[[M], K]) -> list[K]: ...
def read_lines(path: Path, model: type[M], *, key: Callable[[M], Any] = lambda value: value) -> list[Any]:
    """Return the values in ``path``, [] where it does not exist. A line cut off by a crash is left out."""
    return [key(value) for value in iter_lines(path, model)]


def iter_lines(path: Path, model: type[M]) -> Iterator[M]:
    """Yield what ``read_lines`` returns, one value at a time."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        for line in file:
            try:
                yield parse(model, line)
            except ValidationError:
                continue


def lines_of(text: str) -> list[str]:
    """Return the lines of a text of JSON values, which may hold other line breaks of Unicode (U+2028) as they are."""
    return text.removesuffix("\n").split("\n") if text else []


def _as_lines(values: Iterable[BaseModel]) -> bytes:
    return "".join(value.model_dump_json() + "\n" for value in values).encode()


def _ends_whole(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"
