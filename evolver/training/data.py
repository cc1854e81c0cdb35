"""The lessons of a dataset, in the tokens of a model."""

from dataclasses import dataclass, field
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
    """The lessons of a dataset in the tokens of ``profile``, without the ``too_long`` ones and the ``refused`` rows to
    learn from, which the model's chat template does not take.

    ``choice``: requests with one candidate of the choice of a tool. ``call_token`` is the first token of every call.
    """

    tokenizer: Any
    profile: ModelProfile
    taught: list[TokenizedLesson]
    held_out: list[TokenizedLesson]
    choice: list[TokenizedLesson]
    too_long: int
    refused: int
    call_token: int


@dataclass(frozen=True)
class Lessons:
    """The lessons of a file that are ``short`` enough, and the numbers of lessons and rows that were left out."""

    short: list[TokenizedLesson] = field(default_factory=list)
    too_long: int = 0
    refused: int = 0


def read_data(spec: dict[str, Any]) -> Data:
    """Read the dataset that ``spec`` names. Raises RowInvalid, and TrainError if no lesson is short enough."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(Path(spec["model_folder"]), local_files_only=True)
    profile = ModelProfile.model_validate(spec["profile"])
    markers, longest = Markers(spec["markers"]), spec["config"]["max_lesson_tokens"]
    folder = Path(spec["dataset_folder"])
    read = {name: read_lessons(folder / name, tokenizer, profile, markers, longest) for name in file_names(folder)}
    taught, held_out, choice = (read.get(name, Lessons()) for name in (TRAIN, VALID, CHOICE))
    if not taught.short:
        raise TrainError("data", f"{TRAIN} holds no lesson short enough")
    return Data(
        tokenizer=tokenizer,
        profile=profile,
        taught=taught.short,
        held_out=held_out.short,
        choice=choice.short,
        too_long=taught.too_long,
        refused=taught.refused,
        call_token=call_token(tokenizer, profile),
    )


def read_lessons(path: Path, tokenizer: Tokenizer, profile: ModelProfile, markers: Markers, longest: int) -> Lessons:
    """Return the lessons of a file that are at most ``longest`` tokens long.

    Conversations that the model's template refuses are skipped and counted. Raises RowRefused if it refuses all, and
    RowInvalid.
    """
    made: list[TokenizedLesson] = []
    refused, refusal = 0, None
    for row in read_rows(path):
        try:
            made += tokenized(row, tokenizer, profile, markers)
        except RowRefused as error:
            refused, refusal = refused + 1, error
    if refusal is not None and not made:
        raise refusal
    short = [lesson for lesson in made if len(lesson.tokens) <= longest]
    return Lessons(short, too_long=len(made) - len(short), refused=refused)
