"""The runs of the benchmark of continual learning, and how each differs from the full one."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from benchmarks.ablations import FULL
from benchmarks.averaged_adapters import averaging
from benchmarks.rejected_calls import learning_against_rejected
from evolver.config import Config


@dataclass(frozen=True)
class Variant:
    """A run under ``title``: ``changes`` are the changed keys of config.toml; ``during`` surrounds its cycles.
    ``modules`` are groups of Python modules, whose functions a cycle learns beside its batches, the groups in turn; no
    score has them."""

    title: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    modules: tuple[tuple[str, ...], ...] = ()
    during: Callable[[Config], AbstractContextManager[None]] = lambda config: nullcontext()


STANDARD_LIBRARY = (
    ("textwrap", "calendar"),
    ("statistics", "urllib.parse"),
    ("datetime", "string"),
    ("ipaddress", "html"),
    ("math", "colorsys"),
    ("difflib", "fractions"),
)
"""Pure modules whose functions are described in prose."""
WAYS = {
    "continue": Variant("Continued from the serving adapter", {"evolver.train.start": "parent"}),
    "restart": Variant("From the base model with all lessons", {"evolver.dataset.replay_share": 1.0}),
    "average": Variant("Average of the cycles' adapters", during=averaging),
}
"""Ways from cycle to cycle, beside that of the product: from the base model, with a share of the earlier lessons."""
RUNS = {
    FULL: Variant("With replay"),
    "no-replay": Variant("Without replay", {"evolver.dataset.replay_share": 0.0}),
    **WAYS,
    "learn-all": Variant("With what the serving adapter does well already", {"evolver.select.known_probability": 1.0}),
    "standard-library": Variant("With functions of the standard library, in turn", modules=STANDARD_LIBRARY),
    "learn-against": Variant("Against rejected calls", during=learning_against_rejected),
}
"""All but the full run go on with its first cycle, to which they do not matter."""
