"""What a cycle gave so far, as its markers and the ledger say."""

from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel

from evolver.config import Config
from evolver.ledger import CycleRow, Ledger
from evolver.markers import cycle_folder, read_marker
from evolver.types import (
    Adapter,
    Dataset,
    EvalReport,
    GateDecision,
    Made,
    OwnMaker,
    ToolsMade,
    Varied,
    Verified,
)

V = TypeVar("V", bound=BaseModel)


@dataclass(frozen=True)
class CycleReport:
    """How a cycle ended, with the values of its stages as far as it came."""

    cycle: CycleRow
    maker: OwnMaker | None = None
    tools: ToolsMade | None = None
    made: Made | None = None
    verified: Verified | None = None
    varied: Varied | None = None
    dataset: Dataset | None = None
    adapter: Adapter | None = None
    incumbent: EvalReport | None = None
    candidate: EvalReport | None = None
    decision: GateDecision | None = None


def report_of(config: Config, ledger: Ledger, number: int) -> CycleReport:
    """What cycle ``number``, which there must be, gave so far."""
    folder = cycle_folder(config.data_folder, number)

    def value(stage: str, model: type[V]) -> V | None:
        return read_marker(folder / f"{stage}.json", model)

    return CycleReport(
        cycle=ledger.cycles(number)[0],
        maker=value("maker", OwnMaker),
        tools=value("tools", ToolsMade),
        made=value("make", Made),
        verified=value("verify", Verified),
        varied=value("vary", Varied),
        dataset=value("dataset", Dataset),
        adapter=value("train", Adapter),
        incumbent=value("incumbent", EvalReport),
        candidate=value("evaluate", EvalReport),
        decision=value("gate", GateDecision),
    )
