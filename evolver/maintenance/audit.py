"""Kept and dropped traces of a cycle, drawn for a person to read: how much label noise gets through, how much good is
lost."""

import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from evolver.store.cycle_folder import COMPOSED, UNFIT_VARIANTS
from evolver.store.jsonl import read_lines
from evolver.types import Trace, TraceVerdict, Verdict
from toolkit.errors import UserError


def audit(cycle_folder: Path, *, sample: int, seed: int = 0) -> list[TraceVerdict]:
    """Return ``sample`` judged traces, half of them kept, the dropped ones from every reason alike; fewer if there are
    fewer.

    Raises UserError when the cycle has judged nothing.
    """
    judged = read_verdicts(cycle_folder)
    if not judged:
        raise UserError(f"cycle {int(cycle_folder.name)} has judged no trace; see: evolver history")
    rng = random.Random(seed)
    kept = [one for one in judged if one.verdict.kept]
    dropped = _round_robin([one for one in judged if not one.verdict.kept], rng)
    wanted = max(sample // 2, sample - len(dropped))
    chosen = rng.sample(kept, min(len(kept), wanted))
    return [*chosen, *dropped[: sample - len(chosen)]]


def read_verdicts(cycle_folder: Path) -> list[TraceVerdict]:
    """Return every trace of the cycle with its verdict: what was made, varied and composed.

    A trace that was kept has the results of its last execution.
    """
    files = (cycle_folder / "traces.jsonl", cycle_folder / "kept.jsonl")
    traces = {trace.id: trace for file in files for trace in read_lines(file, Trace)}
    verdicts = read_lines(cycle_folder / "verdicts.jsonl", Verdict)
    made = [
        TraceVerdict(trace=traces[verdict.trace_id], verdict=verdict)
        for verdict in verdicts
        if verdict.trace_id in traces
    ]
    varied = read_lines(cycle_folder / "varied.jsonl", Trace, key=TraceVerdict.of)
    later = (judged for name in (UNFIT_VARIANTS, COMPOSED) for judged in read_lines(cycle_folder / name, TraceVerdict))
    return [*made, *varied, *later]


def _round_robin(dropped: Sequence[TraceVerdict], rng: random.Random) -> list[TraceVerdict]:
    """Draw in turn one of each reason, so that a rare one is seen too."""
    by_reason: dict[str, list[TraceVerdict]] = defaultdict(list)
    for one in rng.sample(dropped, len(dropped)):
        by_reason[one.verdict.reason].append(one)
    order: list[TraceVerdict] = []
    while any(by_reason.values()):
        order += [ones.pop() for _, ones in sorted(by_reason.items()) if ones]
    return order
