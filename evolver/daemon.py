"""The clock of the evolver: APScheduler triggers, the ledger says what is due."""

import time
from collections.abc import Callable

from agent.interaction_log import InteractionLog
from agent.serving import active_adapter, state
from evolver import monitor, release
from evolver.config import Config
from evolver.cycle import run_cycle
from evolver.errors import StageError
from evolver.ledger import Ledger
from toolkit.errors import UserError

Say = Callable[[str], None]


def run(config: Config, say: Say) -> None:
    """Run cycles when they are due and watch what serves, until interrupted."""
    from apscheduler.schedulers.blocking import BlockingScheduler

    once = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    scheduler = BlockingScheduler(timezone="UTC")
    minutes = config.evolver.monitor.every_minutes
    scheduler.add_job(lambda: _guarded(lambda: tick(config, say), say), "interval", minutes=minutes, **once)
    say(f"looking every {minutes:g} minutes; a cycle every {config.evolver.daemon.every_hours:g} hours at most")
    _guarded(lambda: tick(config, say), say)
    scheduler.start()


def tick(config: Config, say: Say, *, now: Callable[[], float] = time.time) -> None:
    """Do what is due at this moment: go back if the monitor finds trouble, else run a cycle."""
    with Ledger(config.data_folder / "evolution.db", now=now) as ledger:
        release.reconcile(config.data_folder, ledger)
        finding = check(config, ledger)
        if finding is not None:
            gone, back = release.rollback(
                config.data_folder, ledger, state.read(config.data_folder), reason=finding.reason
            )
            say(f"went back from {gone} to {back}: {finding.reason}")
            return
        reason = why_not_due(config, ledger, now())
        if reason:
            return
        say("a cycle begins")
        report = run_cycle(config, ledger)
        say(f"cycle {report.cycle.number}: {report.cycle.status}: {report.cycle.reason}")


def why_not_due(config: Config, ledger: Ledger, now: float) -> str:
    """Why no cycle is due; "" when one is. An interrupted cycle is due at once."""
    cycles = ledger.cycles()
    if cycles and cycles[0].status == "running":
        return ""
    wait = config.evolver.daemon.every_hours * 3600
    if cycles and now - cycles[0].started_at < wait:
        return f"the last cycle began less than {config.evolver.daemon.every_hours:g} hours ago"
    with InteractionLog.open_readonly(config.data_folder / "interactions.db") as log:
        new = len(log.read(since_id=ledger.mined_up_to() or None))
    needed = config.evolver.mine.minimum_interactions
    return f"{new} new interactions, {needed} needed" if new < needed else ""


def check(config: Config, ledger: Ledger) -> monitor.Finding | None:
    """What the monitor finds about the adapter that serves."""
    current = active_adapter.read(config.data_folder).name
    release_of = next((r for r in ledger.releases() if r.adapter == current), None)
    if release_of is None:
        return None
    with InteractionLog.open_readonly(config.data_folder / "interactions.db") as log:
        interactions = log.read(limit=5000)
    return monitor.watch(config.evolver.monitor, interactions, current=current, previous=release_of.previous)


def _guarded(work: Callable[[], None], say: Say) -> None:
    """The daemon outlives what a user or an operator can mend; anything else is a bug and ends it."""
    try:
        work()
    except (UserError, StageError) as error:
        say(str(error))
