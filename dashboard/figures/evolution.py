"""The state of the evolution: the active adapter, what runs, what waits."""

import time
from dataclasses import dataclass
from pathlib import Path

from agent.adapters import active
from agent.errors import AdapterError
from evolver.config import Config
from evolver.cycle.progress import StageProgress, read_progress
from evolver.cycle.schedule import why_not_due
from evolver.cycle.stages import STAGES
from evolver.release import canary, release
from evolver.release.canary import Trial
from evolver.release.history import first, serves_since
from evolver.store import lease
from evolver.store.cycle_folder import cycle_folder
from evolver.store.cycle_state import worker_of
from evolver.store.ledger import Ledger
from evolver.store.ledger_rows import CycleRow
from evolver.tool_making.pool import ToolPool


@dataclass(frozen=True)
class Serving:
    """The active adapter (for a tenant ``shared``: everybody's), since when (seconds since the epoch; 0: always), and
    the adapter on trial, if one is. ``trouble`` says why the pointer cannot be read."""

    name: str
    since: float
    on_trial: str = ""
    trouble: str = ""


@dataclass(frozen=True)
class Running:
    """A cycle that is not at its end. ``process`` is who works on it; None: it was cut off, and has no ``progress``."""

    cycle: CycleRow
    process: lease.Holder | None
    place: int
    stages: int
    progress: StageProgress | None


@dataclass(frozen=True)
class Waiting:
    """Things that wait for a person."""

    adapters: tuple[str, ...]
    tools: tuple[str, ...]
    paused: str

    def __bool__(self) -> bool:
        return bool(self.adapters or self.tools or self.paused)


def serving(config: Config, ledger: Ledger) -> Serving:
    """Return the active adapter of the ledger's tenant, with its start, and the canary."""
    try:
        pointer = active.read(config.data_folder, ledger.tenant)
    except AdapterError as error:
        return Serving(first(ledger), 0.0, trouble=str(error))
    canary_name = pointer.canary.name if pointer.canary else ""
    return Serving(pointer.name, serves_since(pointer.name, ledger), canary_name)


def trial(config: Config, ledger: Ledger) -> Trial | None:
    """Return the state of the canary; None without one, or if the pointer is damaged."""
    try:
        return canary.standing(config, ledger, time.time())
    except AdapterError:
        return None


def running(config: Config, ledger: Ledger) -> Running | None:
    """Return the cycle that runs, else the newest that was cut off; None where none is open."""
    holder = lease.holder(ledger, config.evolver.daemon.lease_seconds)
    found = [row for row in ledger.cycles() if row.status == "running"]
    if not found:
        return None
    cycle = next((row for row in found if worker_of(row, holder)), found[0])
    worker = worker_of(cycle, holder)
    names = [stage.name for stage in STAGES]
    place = names.index(cycle.stage) + 1 if cycle.stage in names else 0
    progress = read_progress(cycle_folder(config.data_folder, cycle.number)) if worker else None
    return Running(cycle, worker, place, len(names), progress)


def not_due_because(config: Config, ledger: Ledger) -> str:
    """Return the reason for which no cycle begins now; "" where one is due."""
    return why_not_due(config, ledger, time.time())


def waiting(data_folder: Path, ledger: Ledger) -> Waiting:
    """Return the decisions that wait for a person."""
    waiting = [row for row in ledger.adapters() if row.state == "waiting"]
    adapters = [row.name for row in waiting if row.name != ledger.setting(release.trial_setting(row.tenant))]
    tools = [tool.name for tool in ToolPool(data_folder, ledger).tools("waiting")]
    return Waiting(tuple(adapters), tuple(tools), ledger.setting("paused"))
