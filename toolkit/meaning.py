"""Texts as vectors that lie close where the meanings do: computed once, then remembered."""

import contextlib
import hashlib
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit.encoder import NAME, WIDTH, shared_encoder

_MOST = 10_000
"""Vectors that are remembered in memory, and in a file: 15 MB."""

_known: dict[str, Any] = {}
_changing = threading.Lock()


def vectors(texts: Sequence[str], kept_in: Path | None = None) -> Any:
    """Return a float32 array [len(texts), 384], each row of length one (toolkit.encoder).

    The file ``kept_in`` remembers them for other processes: hashes of the texts, and the vectors. Where it cannot be
    read or written, it costs time only. Raises PrerequisiteError where the encoder's package is missing.
    """
    import numpy as np

    asked = dict.fromkeys(texts)
    with _changing:
        found = {text: _known[text] for text in asked if text in _known}
    stored = _read(kept_in) if kept_in is not None and len(found) < len(asked) else {}
    found.update((text, stored[_key(text)]) for text in asked if text not in found and _key(text) in stored)
    missing = [text for text in asked if text not in found]
    if missing:
        found.update(zip(missing, shared_encoder().vectors(missing), strict=True))
        if kept_in is not None:
            _write(kept_in, {_key(text): row for text, row in found.items()} | stored)
    _remember(found)
    return np.stack([found[text] for text in texts]) if texts else np.zeros((0, WIDTH), np.float32)


def _remember(found: dict[str, Any]) -> None:
    with _changing:
        _known.update(found)
        while len(_known) > _MOST:
            del _known[next(iter(_known))]


def _key(text: str) -> bytes:
    return hashlib.sha256(f"{NAME}\n{text}".encode("utf-8", "surrogatepass")).digest()


def _read(file: Path) -> dict[bytes, Any]:
    """Return the vectors in ``file`` by the keys of their texts; none where it is missing or damaged."""
    import numpy as np

    try:
        rows = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return {}
    return {row["key"].tobytes(): row["vector"] for row in rows} if rows.dtype == _row_type() else {}


def _write(file: Path, found: dict[bytes, Any]) -> None:
    """Put ``found`` into ``file``, all or none; the first ones where they are too many."""
    import numpy as np

    rows = np.empty(min(len(found), _MOST), _row_type())
    for place, key in enumerate(list(found)[:_MOST]):
        rows[place] = np.frombuffer(key, np.uint8), found[key]
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as draft:
            np.save(draft, rows)
        Path(draft.name).replace(file)


def _row_type() -> Any:
    import numpy as np

    return np.dtype([("key", np.uint8, (32,)), ("vector", np.float32, (WIDTH,))])
