"""Evidence on which a cycle's candidate is judged: shipped requests, the suite ``own``, and the count of looks."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent.log.interaction_log import InteractionLog
from evolver.config import Config
from evolver.cycle.earlier_lessons import earlier_lessons, replayable
from evolver.evaluation import suites
from evolver.evaluation.suites import Suite
from evolver.lessons import held_back
from evolver.lessons.admission import HeldOut
from evolver.store.cycle_folder import cycle_folder
from evolver.store.jsonl import read_lines, write_lines
from evolver.store.ledger import Ledger
from evolver.store.seen_tools import ToolCatalogue
from evolver.store.tenants import seen_by
from evolver.types import Trace
from toolkit.execute import Executor
from toolkit.registry import ToolRegistry


@dataclass(frozen=True)
class Exam:
    """The requests of ``suite``, which the gate asks, and those that ``held_out`` knows, which no cycle learns from."""

    suite: Suite = field(default_factory=suites.read_suite)
    held_out: HeldOut = field(default_factory=suites.Fingerprints)


def hold_back(
    data_folder: Path,
    number: int,
    kept: Sequence[Trace],
    earlier: Sequence[Trace],
    *,
    tools: ToolRegistry,
    share: float,
    seed: int,
) -> list[Trace]:
    """Choose which of the ``kept`` traces of cycle ``number`` are held back from learning, and write them to its
    folder; return them after those of the ``earlier`` cycles."""
    before = held_back.held_back(data_folder, earlier)
    asked = {trace.provenance.interaction_id for trace in kept} - {""}
    with InteractionLog.open_readonly(data_folder / "interactions.db") as log:
        good = log.called_good(asked)
    chosen = held_back.choose(kept, before, tools=tools, good=good, share=share, rng=random.Random(seed))
    write_lines(cycle_folder(data_folder, number) / held_back.FILE, chosen)
    return [*before, *chosen]


def own_requests(config: Config, ledger: Ledger, number: int, executor: Executor) -> tuple[list[Trace], frozenset[str]]:
    """Return the held-back requests up to cycle ``number`` whose calls still fit the tools of ``executor``, and the ids
    of the ones that this cycle added."""
    before = held_back.held_back(config.data_folder, earlier_lessons(config, ledger, number))
    folder = cycle_folder(config.data_folder, number)
    new = [
        trace.model_copy(update={"id": f"{folder.name}/{trace.id}"})
        for trace in read_lines(folder / held_back.FILE, Trace)
    ]
    seen = seen_by(config, ledger.tenant, ToolCatalogue(ledger).tools())
    return replayable([*before, *new], executor, seen), frozenset(trace.id for trace in new)


def look(ledger: Ledger, number: int) -> int:
    """Return the number of candidates that were compared with the tenant's incumbent since it serves, the one of cycle
    ``number`` included."""
    began = next((change.at for change in ledger.releases()), 0.0)
    judged = [
        row for row in ledger.own_cycles() if row.status in ("rejected", "waiting") and (row.ended_at or 0.0) > began
    ]
    return 1 + sum(row.number != number for row in judged)
