"""The choice of a tool: the model judges each candidate alone, and is then shown those that fit. Pure.

A small model that sees several tools calls the first of them; asked about one tool at a time, it tells the right one
well (docs/decisions/0100).
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from agent.config import PromptConfig
from toolkit.frozen import Frozen

MOST_JUDGED = 4
"""Candidates for one request. With eight the right tool was chosen no more often (docs/decisions/0100)."""
_SEARCH_WEIGHT = 0.2
"""Nats for a point of the search."""


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
    """The candidates, best first, and the names of those that the model is shown, in that order."""

    judged: tuple[JudgedTool, ...]
    shown: tuple[str, ...]


def chosen(judged: Sequence[JudgedTool]) -> ToolChoice:
    """Return the choice among ``judged``.

    The best is always shown, also where its margin is negative: the model then answers without a call.
    """
    best = sorted(judged, key=lambda tool: (-tool.score, tool.name))
    return ToolChoice(judged=tuple(best), shown=(best[0].name,))


def candidates(top: Callable[[int], Sequence[T]], prompt: PromptConfig) -> tuple[tuple[T, ...], tuple[T, ...]]:
    """Return the tools that a request shows where nothing is chosen, and those that are candidates beside them.

    ``top`` gives so many of the best matches.
    """
    shown = prompt.tools_in_prompt
    found = tuple(top(max(shown, MOST_JUDGED) if prompt.judge_tools else shown))
    return found[:shown], found[shown:]
