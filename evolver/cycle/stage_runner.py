"""The values of a cycle's stages: each is made once, stored when it is whole, and found again by whoever goes on."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from evolver.context import Say
from evolver.cycle.stages import Stage
from evolver.store.cycle_folder import read_marker, write_marker
from evolver.store.ledger import Ledger

V = TypeVar("V", bound=BaseModel)
Progress = Callable[[str, float, str], None]
"""Called with the stage's name, the share of it that is done, and a remark."""


class StageRunner:
    """Runs the stages of cycle ``number``, whose markers are in ``folder``."""

    def __init__(self, number: int, folder: Path, ledger: Ledger, on_progress: Progress) -> None:
        self._number, self._folder, self._ledger, self._say = number, folder, ledger, on_progress
        self._values: dict[str, BaseModel] = {}
        self._redo = False

    def run(self, stage: Stage[V], work: Callable[[Say], V]) -> V:
        """Return the stored value of ``stage``, or that of ``work``, which is stored when it is whole."""
        say = partial(self._say, stage.name)
        marker = self._folder / f"{stage.name}.json"
        value = None if self._redo else read_marker(marker, stage.value)
        if value is None:
            self._forget_markers()
            self._ledger.stage_begins(self._number, stage.name)
            say(0.0, "")
            value = work(say)
            with self._ledger.together():
                write_marker(marker, value)
                self._ledger.stage_ends(self._number, stage.name, summary(value))
        elif stage.name not in self._ledger.cycles(self._number)[0].summary:
            self._ledger.stage_ends(self._number, stage.name, summary(value))
        self._values[stage.name] = value
        say(1.0, "")
        return value

    def _forget_markers(self) -> None:
        """Those after the stages that are done came from other values."""
        if not self._redo:
            self._redo = True
            for marker in self._folder.glob("*.json"):
                if marker.stem not in self._values:
                    marker.unlink()


def summary(value: BaseModel) -> dict[str, object]:
    """Return a stage's value as the ledger stores it: without the long lists."""
    return value.model_dump(mode="json", exclude={"tasks": True, "worked": True, "items": True})
