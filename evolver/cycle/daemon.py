"""The clock of the evolver: APScheduler triggers the watch, the ledger says whether a cycle is due.

A cycle takes long. It runs in the daemon's own thread, which Ctrl-C ends at once; the active adapter is watched
meanwhile.
"""

import queue
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import islice

from agent.adapters import active
from agent.adapters.active import SHARED
from agent.errors import AdapterInvalid
from agent.log.entries import first_id
from agent.log.interaction_log import InteractionLog
from agent.serving import serving_state
from agent.storage.database_server import server_of
from agent.turn.messages import BASE
from evolver.config import Config
from evolver.cycle.rounds import run_rounds
from evolver.cycle.schedule import cools_until, why_not_due
from evolver.errors import StageError
from evolver.maintenance import retention
from evolver.release import canary, monitor, release
from evolver.release.history import before, serves_since, shared_before
from evolver.store.base_model import configured_sha256
from evolver.store.ledger import Ledger
from evolver.store.seen_tools import refreshed
from evolver.store.tenants import all_tenants
from toolkit.errors import UserError

Say = Callable[[str], None]
_SEEN = 5000
"""The newest interactions of each of the two adapters that the monitor compares."""


def run(config: Config, say: Say) -> None:
    """Run cycles when they are due and watch the active adapter, until interrupted."""
    from apscheduler.schedulers.background import BackgroundScheduler

    minutes = config.evolver.monitor.every_minutes
    bugs: queue.SimpleQueue[Exception] = queue.SimpleQueue()

    def watch_again() -> None:
        try:
            _guarded(lambda: watch(config, say), say)
        except Exception as error:  # noqa: BLE001  # a bug ends the daemon, whichever thread meets it
            bugs.put(error)

    scheduler = BackgroundScheduler(timezone="UTC")
    once = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    scheduler.add_job(watch_again, "interval", minutes=minutes, **once)
    daemon = config.evolver.daemon
    often = f"at {daemon.cron!r}" if daemon.cron else f"every {daemon.every_hours:g} hours at most"
    say(f"looking every {minutes:g} minutes; a cycle {often}")
    _guarded(lambda: watch(config, say), say)
    scheduler.start()
    try:
        while True:
            _guarded(lambda: evolve(config, say), say)
            with suppress(queue.Empty):
                raise bugs.get(timeout=minutes * 60)
    finally:
        scheduler.shutdown(wait=False)


def watch(config: Config, say: Say, *, now: Callable[[], float] = time.time) -> None:
    """Go back if the monitor finds trouble; else end a trial whose figures say how. So for everybody, and for each
    tenant with an adapter of its own: what is wrong with one is said, and stops no other. Note the tools of clients."""
    for tenant in ("", *active.tenants(config.data_folder)):
        told = _naming(tenant, say)
        _guarded(partial(_watch, config, tenant, told, now), told)


def _watch(config: Config, tenant: str, say: Say, now: Callable[[], float]) -> None:
    with _ledger(config, tenant, now) as ledger:
        if not tenant:
            refreshed(config.data_folder, ledger)
        release.reconcile(config.data_folder, ledger)
        if not _went_back(config, ledger, say, now()):
            _end_of_trial(config, ledger, say, now())


def evolve(config: Config, say: Say, *, now: Callable[[], float] = time.time) -> None:
    """Run a cycle, or several rounds, for all for whom one is due at this moment, those with the most new traffic
    first; remove what nothing refers to after each. What is wrong with one is said, and stops no other."""
    for tenant in _by_traffic(config):
        told = _naming(tenant, say)
        _guarded(partial(_evolve, config, tenant, told, now), told)


def _evolve(config: Config, tenant: str, say: Say, now: Callable[[], float]) -> None:
    with _ledger(config, tenant, now) as ledger:
        if why_not_due(config, ledger, now()):
            return
        say("a cycle begins")
        for report in run_rounds(config, ledger):
            say(f"cycle {report.cycle.number}: {report.cycle.status}: {report.cycle.reason}")
        gone = retention.retire(
            config.evolver.release, config.data_folder, ledger, serving_state.read(config.data_folder), now()
        )
        if gone:
            say(f"removed what nothing refers to: {', '.join(gone)}")


def _by_traffic(config: Config) -> list[str]:
    """Return the tenants for which there are cycles ("": everybody), those with the most new interactions first."""
    if not config.evolver.per_tenant:
        return [""]
    new: dict[str, int] = {}
    with InteractionLog.open_readonly(config.data_folder / "interactions.db") as log:
        for tenant in ("", *all_tenants(config)):
            with _ledger(config, tenant, time.time) as ledger:
                new[tenant], _ = log.count(ledger.mined_up_to(), tenant=tenant)
    return sorted(new, key=lambda tenant: (-new[tenant], tenant))


def _ledger(config: Config, tenant: str, now: Callable[[], float]) -> Ledger:
    return Ledger(config.data_folder / "evolution.db", now=now, tenant=tenant)


def _naming(tenant: str, say: Say) -> Say:
    return (lambda text: say(f"{tenant}: {text}")) if tenant else say


def check(config: Config, ledger: Ledger) -> monitor.Regression | None:
    """Return the regression that the tenant's active adapter brought, or None; None also for one that a person
    pinned."""
    current = active.read(config.data_folder, ledger.tenant).name
    row = ledger.adapter(current)
    seen = None if row is not None and row.pinned else comparison(config, ledger)
    return None if seen is None else monitor.regression_of(config.evolver.monitor, seen)


def comparison(config: Config, ledger: Ledger) -> monitor.Comparison | None:
    """Return the figures of the adapter that serves the ledger's tenant, since it does, beside all that is known of the
    one before, however long ago that served. None while the base model serves, or a tenant has none of its own.

    For a tenant its own turns count. Where everybody's adapter served it before, that is the one of then.
    """
    current = active.read(config.data_folder, ledger.tenant).name
    if current in (BASE, SHARED):
        return None
    previous = before(current, ledger)
    previous = shared_before(current, ledger) if previous == SHARED else previous
    whose = ledger.tenant or None
    with InteractionLog.open_readonly(config.data_folder / "interactions.db") as log:
        old = list(islice(log.of_adapter(previous, tenant=whose), _SEEN))
        since = first_id(serves_since(current, ledger))
        new = list(islice(log.of_adapter(current, after=since, tenant=whose), _SEEN))
    interactions = sorted([*old, *new], key=lambda interaction: interaction.id)
    return monitor.compare(interactions, current=current, previous=previous)


def _end_of_trial(config: Config, ledger: Ledger, say: Say, now: float) -> None:
    """Promote what is on trial, or withdraw it, when the figures say which."""
    trial = canary.standing(config, ledger, now)
    if trial is None or trial.verdict == "undecided":
        return
    name, found = trial.adapter, str(trial)
    serves = ledger.adapter(active.serving(config.data_folder, ledger.tenant).name)
    if trial.verdict == "no worse":
        if serves is not None and serves.pinned:
            return
        try:
            release.promote_from_trial(
                name,
                config.data_folder,
                ledger,
                serving_state.read(config.data_folder),
                reason=found,
                base_sha256=configured_sha256(config, ledger),
            )
        except AdapterInvalid as error:
            if server_of(config.data_folder):  # another machine may have it whole
                say(f"{name} stays on trial: {error}")
                return
            found = str(error)
        else:
            say(f"{name} serves all sessions now: {found}")
            return
    if release.end_trial(name, config.data_folder, ledger, reason=found, by="monitor"):
        say(f"withdrew {name} from its trial: {found}")


def _went_back(config: Config, ledger: Ledger, say: Say, now: float) -> bool:
    """Once: within the cool-down after it the monitor does not go back again."""
    regression = None if cools_until(config, ledger, now) else check(config, ledger)
    if regression is None:
        return False
    gone, back = release.rollback(
        config.data_folder,
        ledger,
        serving_state.read(config.data_folder),
        reason=regression.reason,
        only_from=regression.adapter,
        by="monitor",
        base_sha256=configured_sha256(config, ledger),
    )
    if gone == back:
        return False
    say(f"went back from {gone} to {back}: {regression.reason}")
    return True


def _guarded(work: Callable[[], None], say: Say) -> None:
    """The daemon outlives what a user or an operator can mend; anything else is a bug and ends it."""
    try:
        work()
    except (UserError, StageError) as error:
        say(str(error))
