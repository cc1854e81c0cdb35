"""Fewer and cleaner lessons, for the benchmark of evolution: the traces whose requests fit their calls best.

Two figures that cost nothing tell some of the wrong traces from the right ones (docs/results.md, the audit of 100): the
log-probability of the request when it was sampled, and how much nearer the request is in meaning to the called tool
than to the nearest other one. Traces are ranked by both, and three fifths are kept.
"""

from bisect import bisect_left
from collections.abc import Sequence

from evolver.types import Trace
from toolkit.meaning import vectors
from toolkit.tool import Tool

KEPT_SHARE = 0.6


def likelier(traces: Sequence[Trace], tools: Sequence[Tool]) -> list[Trace]:
    """Return the better three fifths of ``traces`` in their order. Turns of people, traces without a call and those of
    other tools than ``tools`` stay."""
    known = {tool.name: place for place, tool in enumerate(tools)}
    ranked = [one for one in traces if one.calls and not one.lived and all(call.name in known for call in one.calls)]
    if not ranked:
        return list(traces)
    meant = vectors([f"{tool.name.replace('_', ' ')}: {tool.description}" for tool in tools])
    near = vectors([one.request for one in ranked]) @ meant.T
    margins = [
        _margin(row.tolist(), {known[call.name] for call in one.calls}) for row, one in zip(near, ranked, strict=True)
    ]
    points = [a + b for a, b in zip(_ranks(margins), _ranks([one.mean_logprob or 0.0 for one in ranked]), strict=True)]
    best = sorted(range(len(ranked)), key=lambda place: -points[place])[: round(KEPT_SHARE * len(ranked))]
    worse = {one.id for one in ranked} - {ranked[place].id for place in best}
    return [one for one in traces if one.id not in worse]


def _margin(near: Sequence[float], own: set[int]) -> float:
    others = [value for place, value in enumerate(near) if place not in own]
    return min(near[place] for place in own) - max(others, default=0.0)


def _ranks(values: Sequence[float]) -> list[int]:
    """Return how many of ``values`` are smaller than each."""
    ordered = sorted(values)
    return [bisect_left(ordered, value) for value in values]
