"""Due time of cycles, computed from the ledger and the log alone: what a daemon missed is due once."""

import datetime as dt
from zoneinfo import ZoneInfo

from agent.log.interaction_log import InteractionLog
from evolver import crontab
from evolver.config import Config, DaemonConfig
from evolver.release.release import on_trial
from evolver.store import lease
from evolver.store.ledger import Ledger
from evolver.store.ledger_rows import CycleRow
from evolver.store.tenants import mined_up_to, rows_of

_MOST_DOUBLINGS = 10
_HOUR = 3600.0


def why_not_due(config: Config, ledger: Ledger, now: float) -> str:
    """Return the reason for which no cycle of the ledger's tenant is due at ``now`` (seconds since the epoch); "" when
    one is. An interrupted cycle is due at once."""
    daemon = config.evolver.daemon
    paused = ledger.setting("paused")
    if paused:
        return f"paused ({paused}); go on with: evolver resume"
    holder = lease.holder(ledger, daemon.lease_seconds)
    if holder is not None:
        return f"{holder} {holder.doing}"
    cycles = ledger.own_cycles()
    if cycles and cycles[0].status == "running":
        return ""
    candidate = on_trial(config.data_folder, ledger.tenant)
    if candidate:
        return f"{candidate} is on trial with a share of the sessions"
    clock = _waits_for_last(daemon, cycles, now) if cycles else _waits_for_first(config, ledger, now)
    return _outside(daemon, now) or clock or _cooling(config, ledger, now) or _waits_for_people(config, ledger, now)


def _waits_for_first(config: Config, ledger: Ledger, now: float) -> str:
    """Before the first cycle, a time that cron names is missed only if people had asked something by then."""
    if not config.evolver.daemon.cron:
        return ""
    with InteractionLog.open_readonly(config.data_folder / "interactions.db") as log:
        first = log.stored_at(1, tenant=rows_of(config, ledger.tenant))
    return _waits_for_cron(config.evolver.daemon, now if first is None else first, now)


def _waits_for_last(config: DaemonConfig, cycles: list[CycleRow], now: float) -> str:
    """A record that lies further ahead than a period comes from a wrong clock and binds nobody."""
    last, counted_from = cycles[0], cycles[0].started_at
    failures = _failures(cycles)
    if failures:
        pause = config.retry_minutes * 60 * 2 ** min(failures - 1, _MOST_DOUBLINGS)
        wait = min(pause, config.every_hours * _HOUR)
        ended = last.ended_at or last.started_at
        if -wait < now - ended < wait:
            return f"{failures} failed in a row; no try before {_when(ended + wait)}"
        if not config.cron:
            return ""
        counted_from = ended + wait - 1
    if config.cron:
        return _waits_for_cron(config, counted_from, now)
    wait = config.every_hours * _HOUR
    if -wait < now - last.started_at < wait:
        return f"the last cycle began less than {config.every_hours:g} hours ago"
    return ""


def _waits_for_cron(config: DaemonConfig, last: float, now: float) -> str:
    """A wall-clock time that comes twice, as summer time ends, counts once."""
    zone = ZoneInfo(config.timezone)
    before = dt.datetime.fromtimestamp(last, zone)
    if last - now > 24 * _HOUR:
        return ""
    # By the wall clock alone: within the hour that comes twice, the trigger names the same time for ever.
    trigger = crontab.trigger(config.cron)
    wall = trigger.get_next_fire_time(None, before.replace(tzinfo=dt.UTC, fold=0) + dt.timedelta(seconds=1))
    fires = wall.replace(tzinfo=zone) if wall is not None else None
    if fires is None:
        return f"cron {config.cron!r} names no time to come"
    return f"the next cycle is {_when(fires.timestamp())}" if fires.timestamp() > now else ""


def _outside(config: DaemonConfig, now: float) -> str:
    if not config.between:
        return ""
    begin, end = (dt.time.fromisoformat(text) for text in config.between.split("-"))
    moment = dt.datetime.fromtimestamp(now, ZoneInfo(config.timezone)).time()
    inside = begin <= moment < end if begin <= end else moment >= begin or moment < end
    return "" if inside else f"cycles begin {config.between} ({config.timezone}) only"


def _failures(cycles: list[CycleRow]) -> int:
    """Count the newest cycles that failed in a row."""
    return next((n for n, row in enumerate(cycles) if row.status != "failed"), len(cycles))


def _cooling(config: Config, ledger: Ledger, now: float) -> str:
    """After a rollback by the monitor nothing new is put before people for a while."""
    until = cools_until(config, ledger, now)
    return f"the monitor went back to an earlier adapter; the next cycle is {_when(until)}" if until else ""


def cools_until(config: Config, ledger: Ledger, now: float) -> float:
    """Return the end of the cool-down after the monitor's last rollback; 0 when there is none."""
    wait = config.evolver.monitor.cool_down_hours * _HOUR
    back = next((change.at for change in ledger.releases() if change.by == "monitor"), None)
    return back + wait if back is not None and -wait < now - back < wait else 0.0


def _waits_for_people(config: Config, ledger: Ledger, now: float) -> str:
    """Enough that is new, and nobody who waits for an answer now."""
    needed, mined = config.evolver.mine.minimum_interactions, mined_up_to(config, ledger)
    whose = rows_of(config, ledger.tenant)
    with InteractionLog.open_readonly(config.data_folder / "interactions.db") as log:
        new, _ = log.count(mined, tenant=whose)
        newest, ready = (log.stored_at(n, after=mined, tenant=whose) for n in (new, max(1, needed)))
    if new < needed:
        return f"{new} new interactions, {needed} needed"
    daemon = config.evolver.daemon
    if newest is None or not 0 <= now - newest < daemon.idle_minutes * 60:
        return ""
    if ready is not None and now - ready >= daemon.defer_hours * _HOUR:
        return ""
    return f"people are asking; a cycle waits until nobody has for {daemon.idle_minutes:g} minutes"


def _when(moment: float) -> str:
    return dt.datetime.fromtimestamp(moment, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
