"""One cycle: its stages in time, its yield, its training, its gate."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.adapters import package
from agent.adapters.manifest import Manifest
from agent.errors import AdapterError
from agent.storage.statements import Statements
from dashboard.figures import traces
from evolver.cli.score_words import NAMES
from evolver.config import Config
from evolver.cycle import stages, training_log
from evolver.cycle.report import CycleReport, report_of
from evolver.cycle.stages import STAGES
from evolver.store import lease
from evolver.store.cycle_state import state_of
from evolver.store.ledger import Ledger
from evolver.types import Adapter, CycleStatus, TraceVerdict

_COLUMNS = "number, started_at, ended_at, status, stage, reason, tenant"


@dataclass(frozen=True)
class Listed:
    """A cycle in the list. ``traces``, ``kept`` and ``lessons`` are None where it did not come so far."""

    number: int
    started_at: float
    ended_at: float | None
    status: CycleStatus
    stage: str
    reason: str
    tenant: str
    traces: int | None
    kept: int | None
    lessons: int | None


@dataclass(frozen=True)
class Timed:
    """A stage that is done, with the seconds from its begin to its end; None where the ledger does not know them."""

    name: str
    sentence: str
    seconds: float | None
    share: float


def count(db: Statements) -> int:
    """Count the cycles."""
    return db.execute("SELECT count(*) FROM cycles").fetchone()[0]


def listed(db: Statements, *, limit: int, offset: int) -> list[Listed]:
    """Return a page of cycles, the newest first."""
    counts = ", ".join(
        f"CAST(json_extract(summary, '$.{place}') AS integer)"
        for place in ("make.traces", "verify.kept", "dataset.train")
    )
    query = f"SELECT {_COLUMNS}, {counts} FROM cycles ORDER BY number DESC LIMIT ? OFFSET ?"
    return [Listed(*row) for row in db.execute(query, (limit, offset)).fetchall()]


def report(config: Config, ledger: Ledger, number: int) -> CycleReport | None:
    """Return the report of a cycle; None where there is none with that number."""
    return report_of(config, ledger, number) if ledger.cycles(number) else None


def timeline(ledger: Ledger, report: CycleReport) -> list[Timed]:
    """Return the stages that are done, with the times that the ledger keeps."""
    seconds = ledger.stage_seconds(report.cycle.number)
    total = sum(seconds.values()) or 1.0
    return [
        Timed(stage.name, stage.sentence, found := seconds.get(stage.name), (found or 0.0) / total)
        for stage in STAGES
        if stage.name in report.values
    ]


def not_run(report: CycleReport) -> list[str]:
    """Return the names of the stages without a stored value, in order. Promotion stores none in any cycle."""
    return [stage.name for stage in STAGES if stage.name not in report.values and stage is not stages.PROMOTE]


def manifest(adapter: Adapter | None, data_folder: Path) -> Manifest | None:
    """Return the manifest of a cycle's adapter; None where it has none, or its folder is gone."""
    if adapter is None:
        return None
    try:
        return package.read_manifest(data_folder / "adapters" / adapter.name)
    except (AdapterError, OSError):
        return None


@dataclass(frozen=True)
class Losses:
    """Losses by step; None where there is none of the kind. Empty where no step was kept."""

    steps: tuple[int, ...]
    training: tuple[float | None, ...]
    validation: tuple[float | None, ...]


def losses(folder: Path) -> Losses:
    """Return the losses of a cycle's training."""
    lines = training_log.read(folder)
    steps = sorted({line.step for line in lines})
    trained = {line.step: line.loss for line in lines if line.event == "step"}
    checked = {line.step: line.loss for line in lines if line.event == "validated"}
    return Losses(tuple(steps), tuple(map(trained.get, steps)), tuple(map(checked.get, steps)))


def shown(config: Config, ledger: Ledger, number: int, found: Sequence[TraceVerdict]) -> dict[str, Any]:
    """Return the values for the page of cycle ``number``, which must exist; ``found`` are its candidates."""
    report = report_of(config, ledger, number)
    reports = report.of(stages.INCUMBENT), report.of(stages.EVALUATE)
    decision = report.of(stages.GATE)
    scores = [(title, *(getattr(one, name) if one else None for one in reports)) for name, title in NAMES.items()]
    return {
        "report": report,
        "cycle_state": state_of(report.cycle, lease.holder(ledger, config.evolver.daemon.lease_seconds)),
        "stages": timeline(ledger, report),
        "all_stages": len(STAGES),
        "not_run": not_run(report),
        "manifest": manifest(report.of(stages.TRAIN), config.data_folder),
        "scores": scores if any(reports) else [],
        "checks": checks(decision.reasons) if decision else [],
        "reasons": [(one, traces.explained(one.reason)) for one in traces.dropped(found)],
        "yields": traces.yields(found),
        "kept": sum(one.verdict.kept for one in found),
        "judged": len(found),
    }


@dataclass(frozen=True)
class Check:
    """One check of the gate, with its figures in words."""

    passed: bool
    words: str


def checks(reasons: Sequence[str]) -> list[Check]:
    """Return the gate's reasons as checks."""
    return [Check(not reason.startswith("failed"), reason.partition(": ")[2] or reason) for reason in reasons]
