"""Requests that are held back from learning, on which the gate sees a user's own tools: the suite ``own``.

It grows with each cycle: by a tenth of the calls of tools that are not built in, those of clients among them, and of
the turns that people called good or that were corrected. Held back is the whole family of a call: its other wordings,
its variants, and whatever asks for the same in a later cycle.
"""

import math
import random
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from agent.text.matching import normalised
from evolver.store.cycle_folder import cycle_folders
from evolver.store.jsonl import read_lines
from evolver.types import Trace, TraceKind
from toolkit.registry import ToolRegistry

FILE = "own.jsonl"
"""In a cycle's folder: the traces that it held back, one of each family."""
FEWEST = 8
"""Number of a user's own calls that are held back, whatever the share, once there are four times as many."""
_MOST = 4
"""One family of so many may be held back; the rest is for learning."""


def choose(
    kept: Sequence[Trace],
    before: Sequence[Trace],
    *,
    tools: ToolRegistry,
    good: Collection[str],
    share: float,
    rng: random.Random,
) -> list[Trace]:
    """Return one trace of each family of ``kept`` to hold back; ``before``: those held back by earlier cycles.

    ``tools`` are those that serve, ``good`` the interactions that people called good. The calls are spread over the
    tools, those of which the fewest are held back first.
    """
    known = {trace.calls_key for trace in before}
    families: dict[str, Trace] = {}
    for trace in kept:
        if trace.calls_key not in known and _can_be_asked(trace, tools):
            families.setdefault(trace.calls_key, trace)
    lived = [trace for trace in families.values() if _is_good(trace, good)]
    made = [trace for trace in families.values() if trace not in lived and _is_own(trace, tools)]
    held = Counter(_tool(trace) for trace in before)
    asked = sum(_is_own(trace, tools) for trace in before)
    chosen = _spread(made, _count(len(made), share, FEWEST - asked), held, rng)
    return [*chosen, *_spread(lived, _count(len(lived), share, 0), held, rng)]


def without(traces: Iterable[Trace], held: Sequence[Trace]) -> list[Trace]:
    """Return ``traces`` without the families of ``held``, and without those in whose conversation one was asked."""
    calls = {trace.calls_key for trace in held}
    requests = {normalised(trace.request) for trace in held}
    traces = list(traces)
    taken = {trace.id for trace in traces if trace.calls_key in calls}

    def is_held(trace: Trace) -> bool:
        asked = {normalised(text) for text in trace.spoken}
        return trace.calls_key in calls or trace.provenance.derived_from in taken or bool(asked & requests)

    return [trace for trace in traces if not is_held(trace)] if held else traces


def held_back(data_folder: Path, still_right: Sequence[Trace]) -> list[Trace]:
    """Return the ``still_right`` traces (evolver.lessons.replay) that the cycles which kept them held back."""
    found = {
        f"{folder.name}/{trace.id}"
        for folder in cycle_folders(data_folder)
        for trace in read_lines(folder / FILE, Trace)
    }
    return [trace for trace in still_right if trace.id in found]


def _can_be_asked(trace: Trace, tools: ToolRegistry) -> bool:
    if trace.client_turn is not None:
        return bool(trace.calls) and not trace.failures
    alone = bool(trace.calls) and not trace.history and not trace.provenance.derived_from and not trace.failures
    return alone and all(tools.get(call.name) is not None for call in trace.calls)


def _is_good(trace: Trace, good: Collection[str]) -> bool:
    return trace.kind is TraceKind.REPAIRED or (trace.lived and trace.provenance.interaction_id in good)


def _is_own(trace: Trace, tools: ToolRegistry) -> bool:
    if trace.client_turn is not None:
        return True
    found = [tools.get(call.name) for call in trace.calls]
    return all(tool is not None and tool.source != "builtin" for tool in found)


def _count(families: int, share: float, least: int) -> int:
    return min(max(math.ceil(share * families), least), families // _MOST) if share else 0


def _spread(traces: Sequence[Trace], count: int, held: Counter[str], rng: random.Random) -> list[Trace]:
    left = rng.sample(list(traces), len(traces))
    chosen = []
    for _ in range(count):
        chosen.append(min(left, key=lambda trace: held[_tool(trace)]))
        left.remove(chosen[-1])
        held[_tool(chosen[-1])] += 1
    return chosen


def _tool(trace: Trace) -> str:
    return trace.calls[0].name
