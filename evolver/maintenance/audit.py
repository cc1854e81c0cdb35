"""Kept and dropped traces of a cycle, drawn for a person to read: how much label noise gets through, how much good is
lost."""

import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from evolver.jsonl import read_lines
from evolver.markers import COMPOSED, UNFIT_VARIANTS
from evolver.types import Judged, Trace, Verdict
from toolkit.errors import UserError


def audit(cycle_folder: Path, *, sample: int, seed: int = 0) -> list[Judged]:
    """``sample`` judged traces, half of them kept, the dropped ones from every reason alike; fewer if there are fewer.

    Raises UserError when the cycle has judged nothing.
    """
    judged = read_judged(cycle_folder)
    if not judged:
        raise UserError(f"cycle {int(cycle_folder.name)} has judged no trace; see: evolver history")
    chooser = random.Random(seed)
    kept = [one for one in judged if one.verdict.kept]
    dropped = _round_robin([one for one in judged if not one.verdict.kept], chooser)
    wanted = max(sample // 2, sample - len(dropped))
    chosen = chooser.sample(kept, min(len(kept), wanted))
    return [*chosen, *dropped[: sample - len(chosen)]]


def read_judged(cycle_folder: Path) -> list[Judged]:
    """Every trace of the cycle with its verdict: what was made, varied and composed."""
    traces = {trace.id: trace for trace in read_lines(cycle_folder / "traces.jsonl", Trace)}
    verdicts = read_lines(cycle_folder / "verdicts.jsonl", Verdict)
    made = [
        Judged(trace=traces[verdict.trace_id], verdict=verdict) for verdict in verdicts if verdict.trace_id in traces
    ]
    varied = read_lines(cycle_folder / "varied.jsonl", Trace, key=Judged.of)
    later = (judged for name in (UNFIT_VARIANTS, COMPOSED) for judged in read_lines(cycle_folder / name, Judged))
    return [*made, *varied, *later]


def tried_makers(cycle_folder: Path) -> list[Judged]:
    """What the base model and then the maker's own adapter made in their trial; empty where there was none."""
    return [one for file in sorted(cycle_folder.glob("maker/*/verdicts.jsonl")) for one in read_judged(file.parent)]


def _round_robin(dropped: Sequence[Judged], chooser: random.Random) -> list[Judged]:
    """In turn one of each reason, so that a rare one is seen too."""
    by_reason: dict[str, list[Judged]] = defaultdict(list)
    for one in chooser.sample(dropped, len(dropped)):
        by_reason[one.verdict.reason].append(one)
    order: list[Judged] = []
    while any(by_reason.values()):
        order += [ones.pop() for _, ones in sorted(by_reason.items()) if ones]
    return order
