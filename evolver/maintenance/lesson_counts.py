"""Lessons behind an adapter: those of the cycle that made it and of the cycles before."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from agent.config import Config
from agent.turn.messages import BASE
from evolver.maintenance.audit import read_verdicts
from evolver.store.cycle_folder import cycle_folders
from evolver.store.ledger import Ledger
from evolver.types import Trace
from toolkit.tool import neutral

_FILE = "evolution.db"
_LONGEST = 80
"""Characters of a request that are shown."""


def lesson_counts(config: Config, adapter: str, tools: Sequence[str]) -> list[str]:
    """Return a line for each of ``tools``: how many lessons of ``adapter`` call it, and the newest of their requests.

    Lessons are the traces that were kept up to the adapter's cycle, with variants; where tenants had adapters of their
    own, those of its tenant's cycles. Raises StorageError and ConfigError
    where the ledger or a cycle's files cannot be read.
    """
    if adapter == BASE:
        return ["nothing: the base model answered"]
    made = _cycle_of(config.data_folder, adapter)
    if made is None:
        return [f"not known: no cycle here made {adapter}"]
    lessons = list(_kept(config.data_folder, *made))
    return [
        _line(tool, [found for found in lessons if tool in {call.name for call in found[1].calls}]) for tool in tools
    ]


def _line(tool: str, lessons: Sequence[tuple[int, Trace]]) -> str:
    if not lessons:
        return f"{neutral(tool)}: no lesson calls it"
    cycle, newest = lessons[-1]
    request = newest.request if len(newest.request) <= _LONGEST else f"{newest.request[:_LONGEST]}…"
    return f"{neutral(tool)}: {len(lessons)} lessons, such as (cycle {cycle}): {neutral(request)}"


def _cycle_of(data_folder: Path, adapter: str) -> tuple[int, str | None] | None:
    """Return the cycle that made an adapter, and whose cycles' lessons it learned; None: those of all."""
    with Ledger.open_readonly(data_folder / _FILE) as ledger:
        row = ledger.adapter(adapter)
        made = ledger.cycles(row.cycle) if row is not None else []
    return (made[0].number, made[0].reads) if made else None


def _kept(data_folder: Path, last: int, tenant: str | None) -> Iterator[tuple[int, Trace]]:
    for folder in cycle_folders(data_folder, before=last + 1, tenant=tenant):
        yield from ((int(folder.name), one.trace) for one in read_verdicts(folder) if one.verdict.kept)
