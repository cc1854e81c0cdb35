"""Progress of the running cycle, in its folder for whoever watches: ``.progress``, JSON, written once a second.

It is no marker and no record: it is neither flushed nor whole at every moment, and no cycle reads it.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from toolkit.frozen import Frozen

FILE = ".progress"
_SECONDS = 1.0


class StageProgress(Frozen):
    """Share of ``stage`` that was done at the time ``at``; it ``began_at``. Times are seconds since the epoch."""

    stage: str
    share: float
    remark: str
    began_at: float
    at: float

    @property
    def seconds_left(self) -> float | None:
        """Return the rest of the stage at its pace so far; None before there is one."""
        return (self.at - self.began_at) * (1 - self.share) / self.share if self.share > 0 else None


class ProgressFile:
    """Writes the progress of the stages of a cycle into its ``folder``."""

    def __init__(self, folder: Path, *, now: Callable[[], float] = time.time) -> None:
        self._file = folder / FILE
        self._now = now
        self._last: StageProgress | None = None

    def say(self, stage: str, share: float, remark: str) -> None:
        """Note how far ``stage`` is. A disk that is full keeps nobody from working on."""
        now, last = self._now(), self._last
        began_at = now
        if last is not None and last.stage == stage:
            if share < 1 and now - last.at < _SECONDS:
                return
            began_at = last.began_at
        self._last = StageProgress(stage=stage, share=share, remark=remark, began_at=began_at, at=now)
        with suppress(OSError):
            self._file.write_text(self._last.model_dump_json(), encoding="utf-8")


def read_progress(folder: Path) -> StageProgress | None:
    """Return the progress that was written last; None where there is none, or it is being written."""
    try:
        return StageProgress.model_validate_json((folder / FILE).read_bytes())
    except (OSError, ValidationError):
        return None
