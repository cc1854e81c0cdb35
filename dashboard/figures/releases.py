"""Changes of the active adapter, from the ledger, and what the monitor compares."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from agent.adapters.active import SHARED
from agent.log.entries import first_id
from agent.storage.statements import Statements
from dashboard.figures.traffic import FAILED_CALL, LAST_WORD, WHOLE
from evolver.config import Config
from evolver.cycle.daemon import comparison
from evolver.release.monitor import Comparison
from evolver.store.ledger import Ledger
from evolver.store.ledger_rows import Release
from toolkit.errors import UserError

_COLUMNS = "number, at, adapter, previous, reason, changed_by, cycle, tenant"
_NAMES = ("number", "at", "adapter", "previous", "reason", "by", "cycle", "tenant")
_LISTED = f"""
    SELECT {_COLUMNS}, coalesce(lag(at) OVER whose, 0), lead(at) OVER whose
    FROM releases WINDOW whose AS (PARTITION BY tenant ORDER BY number) ORDER BY number DESC LIMIT ? OFFSET ?
"""
_MOST_TURNS = 1000
_DAY = 86400.0
_TURNS = f"""
    SELECT count(*), count(*) FILTER (
        WHERE stop_reason != 'answered' OR {FAILED_CALL} OR coalesce({LAST_WORD}, '') = 'bad'
    ) FROM (
        SELECT * FROM interactions WHERE {{whose}} AND id >= ? AND id < ? ORDER BY id DESC LIMIT {_MOST_TURNS}
    ) AS turn WHERE {WHOLE}
"""


@dataclass(frozen=True)
class Change:
    """A change of the active adapter of a tenant or of everybody, with the time of the one ``before`` it there (0:
    none) and ``after`` it (None: none)."""

    release: Release
    before: float
    after: float | None


@dataclass(frozen=True)
class Turns:
    """The newest turns of an adapter in a span of time, 1,000 at most, and those that were not answered, had a failed
    call or were called bad."""

    count: int
    troubled: int

    @property
    def troubled_share(self) -> float | None:
        return self.troubled / self.count if self.count else None


def count(db: Statements) -> int:
    """Count the changes."""
    return db.execute("SELECT count(*) FROM releases").fetchone()[0]


def listed(db: Statements, *, limit: int, offset: int) -> list[Change]:
    """Return a page of changes, the newest first."""
    rows = db.execute(_LISTED, (limit, offset)).fetchall()
    return [
        Change(Release.model_validate(dict(zip(_NAMES, row, strict=True))), before, after)
        for *row, before, after in rows
    ]


def turns(db: Statements, changes: Sequence[Change]) -> list[tuple[Turns, Turns]]:
    """Count for each change the turns of the adapter that served until then, since the change before, and of the one
    that served from then on, until the next one. ``db`` is the log."""
    return [
        (
            _turns(db, one.release.previous, one.release.tenant, one.before, one.release.at),
            _turns(db, one.release.adapter, one.release.tenant, one.release.at, one.after or time.time() + _DAY),
        )
        for one in changes
    ]


def _turns(db: Statements, adapter: str, tenant: str, since: float, until: float) -> Turns:
    """Count the turns of ``adapter``, of ``tenant`` alone if it is not ""; where that is everybody's, all of it."""
    named = {} if tenant and adapter == SHARED else {"adapter": adapter}
    named |= {"tenant": tenant} if tenant else {}
    query = _TURNS.format(whose=" AND ".join(f"{column} = ?" for column in named))
    return Turns(*db.execute(query, (*named.values(), first_id(since), first_id(until))).fetchone())


def since_change(config: Config, ledger: Ledger) -> Comparison | None:
    """Return the monitor's figures with the active adapter and with the one that served before; None while the base
    model serves."""
    try:
        return comparison(config, ledger)
    except UserError:
        return None
