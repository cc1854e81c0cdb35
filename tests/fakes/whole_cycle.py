"""What a whole cycle of the test world leaves, and how one is cut off."""

from typing import Any

from agent.adapters import active
from evolver.cycle import stages
from evolver.cycle.report import CycleReport
from evolver.cycle.stages import STAGES
from tests.fakes.evolver_world import World, lines
from tests.fakes.stages import value_of

NAME = "adapter-0001"

NAMES = [stage.name for stage in STAGES if not stage.optional]


def serving(here: World) -> str:
    return active.read(here.data).name


def end(here: World) -> dict[str, Any]:
    """What remains of a cycle: equal ends are equal here."""
    with here.ledger() as ledger:
        return {
            "cycles": [(c.number, c.status, bool(c.reason), c.last_interaction_id != "") for c in ledger.cycles()],
            "adapters": [(a.name, a.state, a.parent, a.scores["call_accuracy"]["hits"]) for a in ledger.adapters()],
            "releases": [(r.adapter, r.previous) for r in ledger.releases()],
            "serving": serving(here),
            "trained": here.training.trained,
            "loaded": here.server.models,
        }


PROMOTED = {
    "cycles": [(1, "promoted", True, True)],
    "adapters": [(NAME, "promoted", "base", 7)],
    "releases": [(NAME, "base")],
    "serving": NAME,
    "trained": [NAME],
    "loaded": ["base", NAME],
}


def kill_at(stage: str, share: float = 0.0) -> Any:
    def on_progress(said: str, done: float, _: str) -> None:
        if (said, done) == (stage, share):
            raise KeyboardInterrupt

    return on_progress


def rows_of(report: CycleReport) -> list[dict[str, Any]]:
    folder = value_of(report, stages.DATASET).folder
    return [row for name in ("train", "valid") for row in lines(folder / f"{name}.jsonl")]


def configured(here: World, *, require_key: bool = True, **tables: Any) -> None:
    """Set ``tables`` of ``[evolver]``, and whether the gateway requires keys, as adapters of tenants need."""
    serving = here.config.agent.serving
    gateway = serving.gateway.model_copy(update={"require_key": require_key})
    agent = here.config.agent.model_copy(update={"serving": serving.model_copy(update={"gateway": gateway})})
    evolver = here.config.evolver.model_copy(update=tables)
    here.config = here.config.model_copy(update={"evolver": evolver, "agent": agent})
