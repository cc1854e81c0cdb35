"""Importing a library without the optional parts that it would import by itself."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def absent(*names: str) -> Iterator[None]:
    """Let imports in the block find none of these modules, as if they were not installed, unless they are in use
    already.

    For what a library only offers where it can be imported, and what takes longer to import than a command may take.
    Use it at the top of a module: other threads would not find them either.
    """
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: an import of it fails
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
