"""Texts as vectors that lie close where the meanings do: word vectors that come inside a package, no model is run.

WordLlama's 256-dimensional table (l2_supercat, 16 MB, MIT). Nothing is downloaded.
"""

import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any


def vectors(texts: Sequence[str]) -> Any:
    """float32 array [len(texts), 256], each row of length one (zeros for a text without a known word)."""
    import numpy as np

    made = _table().embed(list(texts))
    return made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-9)


@cache
def _table() -> Any:
    # Imported late: the package costs 0.3 s, and not every command searches. It sets up the root logger, which is ours.
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    import wordllama

    root.handlers[:] = handlers
    root.setLevel(level)
    inside = Path(wordllama.__file__).parent
    return wordllama.WordLlama.load(cache_dir=inside, disable_download=True)
