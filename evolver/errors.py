"""Errors of the evolver's stages: recorded with their cause, never fatal to the daemon.

StageError
├── TrainError        training failed; ``kind`` says how
└── AdapterInvalid    an adapter folder is not what its manifest says
"""

from typing import Literal

TrainFailure = Literal["data", "model", "memory", "diverged", "disk", "stalled", "killed", "crashed"]


class StageError(Exception):
    """A stage of a cycle failed. The message is the reason, for the record."""


class TrainError(StageError):
    """Training failed; nothing was published."""

    def __init__(self, kind: TrainFailure, reason: str) -> None:
        super().__init__(f"training failed ({kind}): {reason}")
        self.kind: TrainFailure = kind
        self.reason = reason


class AdapterInvalid(StageError):
    """An adapter folder must not be used; the message says why."""
