"""Report of a cycle, from its markers and the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, TypeVar

from pydantic import BaseModel

from evolver.config import Config
from evolver.cycle.stages import STAGES, Stage
from evolver.store.cycle_folder import cycle_folder, read_marker
from evolver.store.ledger import Ledger
from evolver.store.ledger_rows import CycleRow
from toolkit.errors import PrerequisiteError

REPORTS = "apprentice.reports"
"""Entry points: called with configuration, ledger and number of a cycle, they return its report in their form."""

V = TypeVar("V", bound=BaseModel)


@dataclass(frozen=True)
class CycleReport:
    """End of a cycle, with the ``values`` of its stages by their names, as far as it came."""

    cycle: CycleRow
    values: Mapping[str, BaseModel] = field(default_factory=dict)

    def of(self, stage: Stage[V]) -> V | None:
        """Return the value of ``stage``, or None where the cycle did not finish it."""
        value = self.values.get(stage.name)
        return value if isinstance(value, stage.value) else None

    def as_values(self) -> dict[str, Any]:
        """Return the cycle, and the value of each stage by its name, for programs."""
        return {
            "cycle": self.cycle.model_dump(mode="json", exclude={"summary"}),
            "stages": {name: value.model_dump(mode="json") for name, value in self.values.items()},
        }


def as_html(config: Config, ledger: Ledger, number: int) -> str:
    """Return the report of cycle ``number``, which must exist, as a web page that needs no other file.

    The package that makes pages stands above this one, and is found by its entry point. Raises PrerequisiteError where
    there is none.
    """
    found = next(iter(entry_points(group=REPORTS, name="html")), None)
    if found is None:
        raise PrerequisiteError("no package makes web pages here; install apprentice again: make -B setup")
    return found.load()(config, ledger, number)


def report_of(config: Config, ledger: Ledger, number: int) -> CycleReport:
    """Read the report of cycle ``number``, which must exist."""
    folder = cycle_folder(config.data_folder, number)
    found = {stage.name: read_marker(folder / f"{stage.name}.json", stage.value) for stage in STAGES}
    return CycleReport(ledger.cycles(number)[0], {name: value for name, value in found.items() if value is not None})
