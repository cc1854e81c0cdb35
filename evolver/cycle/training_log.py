"""Training of a cycle, step by step, in its folder: ``training.jsonl``.

It is for people to look at: a line is not flushed when it is written, and no cycle reads it. A run that goes on from a
checkpoint writes its steps again; the last line of a step counts.
"""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from evolver.store.jsonl import iter_lines
from toolkit.frozen import Frozen

FILE = "training.jsonl"
_KEPT = ("step", "validated")


class TrainingStep(Frozen):
    """Mean loss per target token of the lessons of ``step``, or of the validation after it; nats."""

    event: Literal["step", "validated"]
    step: int
    loss: float
    tokens_per_second: float | None = None


def note(folder: Path, event: dict[str, Any]) -> None:
    """Keep a training process's ``event`` where it has a loss. A disk that is full keeps nobody from training."""
    if event["event"] not in _KEPT:
        return
    line = {name: event[name] for name in TrainingStep.model_fields if name in event}
    with suppress(OSError), (folder / FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read(folder: Path) -> list[TrainingStep]:
    """Return the steps and validations, in order; [] where none was kept."""
    found = {(line.step, line.event): line for line in iter_lines(folder / FILE, TrainingStep)}
    return [found[key] for key in sorted(found)]
