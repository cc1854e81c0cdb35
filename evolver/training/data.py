"""The lessons of a dataset, in the tokens of a model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.models.profile import ModelProfile
from agent.models.template_markers import Markers
from evolver.errors import TrainError
from evolver.store.dataset_files import CHOICE, TRAIN, VALID, file_names
from evolver.training.prefix_tree import TokenizedLesson
from evolver.training.render import RowRefused, Tokenizer, call_token, read_rows, tokenized


@dataclass(frozen=True)
class Data:
    """The lessons of a dataset in the tokens of ``profile``, without the ``too_long`` ones.

    ``choice``: requests with one candidate of the choice of a tool. ``call_token`` is the first token of every call.
    """

    tokenizer: Any
    profile: ModelProfile
    taught: list[TokenizedLesson]
    held_out: list[TokenizedLesson]
    choice: list[TokenizedLesson]
    too_long: int
    call_token: int


def read_data(spec: dict[str, Any]) -> Data:
    """Read the dataset that ``spec`` names. Raises RowInvalid, and TrainError if no lesson is short enough."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(Path(spec["model_folder"]), local_files_only=True)
    profile = ModelProfile.model_validate(spec["profile"])
    markers, longest = Markers(spec["markers"]), spec["config"]["max_lesson_tokens"]
    folder = Path(spec["dataset_folder"])
    read = {name: read_lessons(folder / name, tokenizer, profile, markers, longest) for name in file_names(folder)}
    (taught, too_long), (held_out, _), (choice, _) = (read.get(name, ([], 0)) for name in (TRAIN, VALID, CHOICE))
    if not taught:
        raise TrainError("data", f"{TRAIN} holds no lesson short enough")
    return Data(tokenizer, profile, taught, held_out, choice, too_long, call_token(tokenizer, profile))


def read_lessons(
    path: Path, tokenizer: Tokenizer, profile: ModelProfile, markers: Markers, longest: int
) -> tuple[list[TokenizedLesson], int]:
    """Return the lessons of a file that are at most ``longest`` tokens long, and how many are longer.

    Conversations that the model's template refuses are skipped. Raises RowRefused if it refuses all.
    """
    made: list[TokenizedLesson] = []
    refusal: RowRefused | None = None
    for row in read_rows(path):
        try:
            made += tokenized(row, tokenizer, profile, markers)
        except RowRefused as error:
            refusal = error
    if refusal is not None and not made:
        raise refusal
    short = [lesson for lesson in made if len(lesson.tokens) <= longest]
    return short, len(made) - len(short)
