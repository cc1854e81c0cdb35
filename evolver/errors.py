"""Errors of the evolver's stages: recorded with their cause, never fatal to the daemon.

StageError
└── TrainError        training failed; ``kind`` says how
UserError (toolkit.errors)
├── Busy              another process has the lease
├── DiskFull          a stage found no room; the cycle stays open
└── Fenced            another process has taken over this one's cycle; nothing more is written
"""

import errno
import os
from typing import Literal

from toolkit.errors import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT)

TrainFailure = Literal["data", "model", "memory", "diverged", "disk", "stalled", "killed", "crashed"]


class StageError(Exception):
    """A stage of a cycle failed. The message is the reason, for the record."""


class TrainError(StageError):
    """Training failed; nothing was published. ``final``: memory is short, and no smaller packs would change that."""

    def __init__(self, kind: TrainFailure, reason: str, *, final: bool = False) -> None:
        super().__init__(f"training failed ({kind}): {reason}")
        self.kind: TrainFailure = kind
        self.reason = reason
        self.final = final


class Busy(UserError):
    """Another process runs a cycle on this data folder, or deletes or copies its data."""


class DiskFull(UserError):
    """A stage found no room on the disk; the next call goes on with the cycle."""

    def __init__(self) -> None:
        super().__init__("the disk is full; free some space, then go on with: evolver cycle")


class Fenced(UserError):
    """Lease lost: this process was silent past it, and another has taken over its cycle."""


def disk_is_full(error: BaseException) -> bool:
    """Return whether it was for lack of room, here or in the training process, of whose error only its words are
    left."""
    if isinstance(error, TrainError):
        return error.kind == "disk" and any(os.strerror(number) in error.reason for number in _FULL)
    return isinstance(error, OSError) and error.errno in _FULL
