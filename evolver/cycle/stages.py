"""The stages of a cycle, in order: the one table of their names, for the cycle, progress, reports, docs and tests."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel

from evolver.release.served_weights import Proved
from evolver.scores import EvalReport, GateDecision
from evolver.types import Adapter, Dataset, Invented, Made, Mined, Selected, Varied, Verified
from toolkit.frozen import Frozen

V_co = TypeVar("V_co", bound=BaseModel, covariant=True)


class Released(Frozen):
    """The end of a cycle stands in the ledger alone: there is no marker of this value."""


@dataclass(frozen=True)
class Stage(Generic[V_co]):
    """A stage, its ``sentence`` for people, and the value that its marker ``NAME.json`` holds.

    ``function`` is the one that the cycle calls, ``MODULE:NAME`` below evolver. An ``optional`` stage runs where the
    configuration asks for it.
    """

    name: str
    sentence: str
    value: type[V_co]
    function: str
    optional: bool = False


MINE = Stage("mine", "Find tasks, and turns that can be learned, in the interaction log.", Mined, "mining.mine:mine")
TOOLS = Stage(
    "tools", "Let the model write new tools for requests.", Invented, "tool_making.stage:make_tools", optional=True
)
MAKE = Stage("make", "Generate candidate traces with the base model.", Made, "generation.make:make")
VERIFY = Stage(
    "verify",
    "Judge every candidate: execute it again, check it, ask the model back.",
    Verified,
    "verification.verify:verify",
)
SELECT = Stage(
    "select",
    "Ask the serving adapter about kept traces; set aside what it does well.",
    Selected,
    "selection.select:select",
)
VARY = Stage("vary", "Make variants of kept traces with other values.", Varied, "augmentation.vary:vary")
DATASET = Stage(
    "dataset",
    "Hold some requests back; build lessons of the other traces, old ones among them.",
    Dataset,
    "dataset.build:build",
)
TRAIN = Stage("train", "Train a LoRA adapter in a process of its own.", Adapter, "training.supervisor:train")
LOAD = Stage(
    "load",
    "Load the adapter into every server, and prove that it is served as trained.",
    Proved,
    "release.release:load_candidate",
)
INCUMBENT = Stage(
    "incumbent", "Score the serving model on the held-out suite.", EvalReport, "evaluation.scoring:score_requests"
)
EVALUATE = Stage(
    "evaluate", "Score the candidate on the held-out suite.", EvalReport, "evaluation.scoring:score_requests"
)
GATE = Stage(
    "gate",
    "Score both on what was held back; decide whether the candidate may serve.",
    GateDecision,
    "evaluation.gate:decide",
)
PROMOTE = Stage("promote", "Promote the candidate, let it wait, or reject it.", Released, "cycle.promotion:finish")

STAGES: tuple[Stage[BaseModel], ...] = (
    MINE, TOOLS, MAKE, VERIFY, SELECT, VARY, DATASET, TRAIN, LOAD, INCUMBENT, EVALUATE, GATE, PROMOTE,
)  # fmt: skip
