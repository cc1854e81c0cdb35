"""Rounds: cycles in a row, until one brings no gain (docs/decisions/0044).

ToolACE-DEV (arXiv 2505.07512) evolves in about three. A round is a cycle: it makes and verifies anew,
learns beside that what earlier ones kept (``replay_share``), and must beat the round before it on the held-out requests
to serve.
"""

from collections.abc import Iterator

from evolver.config import Config
from evolver.cycle import run
from evolver.cycle.report import CycleReport
from evolver.cycle.stage_runner import Progress
from evolver.store.ledger import Ledger


def run_rounds(
    config: Config,
    ledger: Ledger,
    *,
    most: int | None = None,
    on_progress: Progress = lambda stage, share, remark: None,
) -> Iterator[CycleReport]:
    """Run at most ``most`` cycles (None: ``[evolver] rounds``), and no further one after a cycle that promoted nothing,
    or once the evolver is paused. Raises as run_cycle does."""
    for number in range(1, 1 + (config.evolver.rounds if most is None else most)):
        if number > 1 and ledger.setting("paused"):
            return
        report = run.run_cycle(config, ledger, on_progress=on_progress)
        yield report
        if report.cycle.status != "promoted":
            return
