"""Losses of training for TensorBoard, in ``tensorboard/cycle-NNNN`` of the data folder.

They are those of ``training.jsonl``, written while training runs. They need the extra ``tensorboard``.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from toolkit.errors import PrerequisiteError

FOLDER = "tensorboard"
_CURVES = {"step": "loss/training", "validated": "loss/validation"}
_PACE = "tokens_per_second"


def check(wanted: bool) -> None:
    """Raise PrerequisiteError where curves are ``wanted`` and TensorBoard is not installed."""
    if wanted and find_spec("tensorboard") is None:
        raise PrerequisiteError(
            "tensorboard = true in [evolver] needs the package; install it: pip install 'apprentice-agent[tensorboard]'"
        )


@contextmanager
def curves(data_folder: Path, cycle: int, *, wanted: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield a function that draws an event of a training process, and does nothing where no curves are ``wanted``.

    A disk that is full keeps nobody from training.
    """
    if not wanted:
        yield lambda event: None
        return
    from tensorboard.summary import Writer

    writer = Writer(str(data_folder / FOLDER / f"cycle-{cycle:04d}"))

    def draw(event: dict[str, Any]) -> None:
        curve = _CURVES.get(event["event"])
        if curve is None:
            return
        with suppress(OSError):
            writer.add_scalar(curve, event["loss"], event["step"])
            if event.get(_PACE) is not None:
                writer.add_scalar(_PACE, event[_PACE], event["step"])
            writer.flush()

    try:
        yield draw
    finally:
        with suppress(OSError):
            writer.close()
