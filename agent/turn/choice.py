"""The choice of a tool: the model judges each candidate alone, and then calls those that fit. Pure.

A small model that sees several tools calls the first of them; asked about one tool at a time, it tells the right one
well (docs/decisions/0100).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from agent.config import PromptConfig
from toolkit.frozen import Frozen

MOST_JUDGED = 4
"""Candidates for one request. With eight the right tool was chosen no more often (docs/decisions/0100)."""
_SEARCH_WEIGHT = 0.2
"""Nats for a point of the search."""
_PART_POINTS = 25.0
"""Points that a tool must have for its part of a request."""
_PART_LEAD = 10.0
"""Points by which it must fit that part better than the tool of the part before does (docs/decisions/0136)."""
_FEWEST_WORDS = 3
"""Shorter clauses say too little to be judged."""

T = TypeVar("T")
Points = Callable[[str], Mapping[str, float]]
"""How well each candidate fits a text, by name."""


class JudgedTool(Frozen):
    """A candidate. ``margin``: logit of opening a call, its bias added, minus the largest other logit, where this is
    the only tool shown; nats. ``search``: points by toolkit.search."""

    name: str
    margin: float
    search: float

    @property
    def score(self) -> float:
        """The order of candidates: higher is better."""
        return self.margin + _SEARCH_WEIGHT * self.search


class Part(Frozen):
    """A part of a request, and the tool that it speaks of."""

    tool: str
    text: str


class ToolChoice(Frozen):
    """The candidates, best first, and the names of those that the model is asked to call.

    ``parts``: the parts of a request that speaks of several tools, each of which is asked with its tool alone; () where
    the whole request is asked with the one that is shown.
    """

    judged: tuple[JudgedTool, ...]
    shown: tuple[str, ...]
    parts: tuple[Part, ...] = ()

    def asked_of(self, name: str, request: str) -> str:
        """Return the text with which the model is asked to call the tool ``name``."""
        return next((part.text for part in self.parts if part.tool == name), request)


def chosen(judged: Sequence[JudgedTool], parts: Sequence[Part] = ()) -> ToolChoice:
    """Return the choice among ``judged``, for a request with these ``parts``.

    The best is always shown, also where its margin is negative: the model then answers without a call.
    """
    best = sorted(judged, key=lambda tool: (-tool.score, tool.name))
    shown = tuple(dict.fromkeys(part.tool for part in parts)) or (best[0].name,)
    return ToolChoice(judged=tuple(best), shown=shown, parts=tuple(parts))


def parts_of(request: str, clauses: Sequence[tuple[int, int]], points: Points) -> list[Part]:
    """Return the parts of ``request`` that speak of different tools; [] where all of it speaks of one or of none.

    ``clauses`` are places in it. A clause that no tool fits well enough belongs to the part before it.
    """
    found: list[tuple[str | None, int, int]] = []
    for start, end in clauses:
        last = found[-1][0] if found else None
        name = _tool_of(request[start:end], last, points) or last
        if found and last in (None, name):
            found[-1] = name, found[-1][1], end
        else:
            found.append((name, start, end))
    parts = [Part(tool=name, text=request[start:end]) for name, start, end in found if name is not None]
    return parts if len({part.tool for part in parts}) > 1 else []


def _tool_of(clause: str, last: str | None, points: Points) -> str | None:
    """Return the tool that a clause speaks of, and clearly more than of the ``last`` one; None if there is none."""
    if len(clause.split()) < _FEWEST_WORDS:
        return None
    fit = points(clause)
    name = max(fit, key=lambda name: fit[name])
    leads = last is None or name == last or fit[name] - fit[last] >= _PART_LEAD
    return name if fit[name] >= _PART_POINTS and leads else None


def candidates(top: Callable[[int], Sequence[T]], prompt: PromptConfig) -> tuple[tuple[T, ...], tuple[T, ...]]:
    """Return the tools that a request shows where nothing is chosen, and those that are candidates beside them.

    ``top`` gives so many of the best matches.
    """
    shown = prompt.tools_in_prompt
    found = tuple(top(max(shown, MOST_JUDGED) if prompt.judge_tools else shown))
    return found[:shown], found[shown:]
