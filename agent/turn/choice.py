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
"""Points that a further tool must have for its part of the request."""
_PART_LEAD = 10.0
"""Points by which it must fit that part better than the best tool does (docs/decisions/0136)."""

T = TypeVar("T")


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


class ToolChoice(Frozen):
    """The candidates, best first, and the names of those that the model is asked to call, each alone, in that order."""

    judged: tuple[JudgedTool, ...]
    shown: tuple[str, ...]


def chosen(judged: Sequence[JudgedTool], parts: Sequence[Mapping[str, float]] = ()) -> ToolChoice:
    """Return the choice among ``judged``. ``parts``: points of each candidate for each part of the request, by name.

    The best is always shown, also where its margin is negative: the model then answers without a call. A further one is
    shown where a part of the request speaks of it, and not of the best.
    """
    best = sorted(judged, key=lambda tool: (-tool.score, tool.name))
    shown = [best[0].name]
    fitting = {tool.name for tool in judged if tool.margin > 0}
    for part in parts:
        name = max(part, key=lambda name: part[name])
        leads = part[name] >= _PART_POINTS and part[name] - part[best[0].name] >= _PART_LEAD
        if leads and name in fitting and name not in shown:
            shown.append(name)
    return ToolChoice(judged=tuple(best), shown=tuple(shown))


def candidates(top: Callable[[int], Sequence[T]], prompt: PromptConfig) -> tuple[tuple[T, ...], tuple[T, ...]]:
    """Return the tools that a request shows where nothing is chosen, and those that are candidates beside them.

    ``top`` gives so many of the best matches.
    """
    shown = prompt.tools_in_prompt
    found = tuple(top(max(shown, MOST_JUDGED) if prompt.judge_tools else shown))
    return found[:shown], found[shown:]
